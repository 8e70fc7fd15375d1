/* a */ qubit[4] $0; qubit r; gate s0 a { pow(1/2) @ U(0, 0, pi) a; } s0 r; ctrl @ s0 r, r; U(1, -2, 3.5e-1) r; // x
 barrier r; let b = r; bit c = measure r;
