// Gates of its own whose parameters are not in alphabetical order, functions, powers, modifiers.
OPENQASM 3.0;
include "stdgates.inc";
input float[64] x_0;
input float[64] x_10;
input float[64] x_2;
input angle theta;
input float w_1;
input float w_0;
gate turn(tilt, axis) a, b {
  rz(-axis) a;
  ry(tilt / 2) a;
  cx a, b;
  rz(axis) b;
  gphase(tilt);
}
qubit[3] q;
bit[3] c;
h q;
turn(x_0, 2 * x_10 - 1) q[0], q[2];
ctrl @ turn(0.3, 0.7) q[1], q[0], q[2];
rx(sin(w_0) ** 2 + sqrt(w_1 * w_1 + 1)) q[1];
p(theta / 2) q[0];
inv @ s q[2];
pow(2) @ t q[1];
negctrl @ x q[0], q[1];
gphase(-x_2);
c = measure q;
