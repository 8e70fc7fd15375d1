OPENQASM 3.1; include "stdgates.inc"; qubit[2] q; rx(sin(0.5) ** 2 + sqrt(2) / 3) q[0]; for int i in [0:1] { x q[i]; } if (true) { h q[0]; } else { reset q; } def f(qubit a) -> bit { return measure a; } array[int[8], 2] k = {1, 2}; box [10ns] { delay[1us] q; } @note here
 x q; cal { a } defcal x $0 { b } pragma c
 while (1 < 2) { break; } switch (1) { case 1 { } }
