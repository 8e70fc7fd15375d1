// A balanced function of three bits: every input bit is read as 1.
OPENQASM 2.0;
include "qelib1.inc";
qreg data[3];
qreg target[1];
creg c[3];
x target[0];
h data;
h target[0];
cx data[0], target[0];
cx data[1], target[0];
cx data[2], target[0];
h data;
measure data -> c;
