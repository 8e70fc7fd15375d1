OPENQASM 2.0; qreg a[2]; qreg b[2]; opaque o(t) x; gate k x { U(0, 0, 1) x; } CX a, b; k b; U(1, 2, -(3 + 4) * 5) a[1]; barrier a; creg c[1]; if (c == 1) k a[0]; reset b; measure a[0] -> c[0];
