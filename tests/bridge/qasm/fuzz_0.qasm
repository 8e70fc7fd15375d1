OPENQASM 2.0; include "qelib1.inc"; qreg q[3]; creg c[3]; gate g(a, b) x, y { rz(a/2) x; cx x, y; barrier x, y; u3(-b, pi, sin(a)^2) y; } h q; g(0.3, 2*pi/3) q[0], q[2]; cz q[1], q[2]; // end
 cu1(1e-2) q[0], q[1]; ccx q[0], q[1], q[2]; measure q -> c;
