OPENQASM 2.0;
include "qelib1.inc";
gate excite(theta, phi) a, b { rz(-theta/2) b; cx a, b; rz(theta/2 + sin(phi)^2) b; cx a, b; u3(phi, -pi/2, pi/2) a; }
qreg q[4];
ry(0.42) q[0];
rx(-2*asin(0.5)) q[1];
u2(0.1, -1.3) q[2];
u(0.7, 1.1, -0.2) q[3];
excite(0.31, -2.2) q[0], q[1];
excite(ln(2), sqrt(2)) q[3], q[2];
rzz(0.6) q[1], q[2];
rxx(1.2) q[0], q[3];
sx q[0];
cu3(0.1, 0.2, 0.3) q[2], q[1];
