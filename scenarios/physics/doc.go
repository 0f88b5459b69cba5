// Package physics holds the window table against the kernel: for each row a pair of
// plain TCP sockets across a lab, set as the row says, the row's fault, and the time after
// which the measured end was really gone. It has tests only, labelled "physics", and
// "scaled" or "slow": those take minutes, up to half an hour, for they run on defaults.
//
//	here (the server's host) ======== there (the client's host)
//	^ this end is measured            in the same process, or a process of its own
//
// The bounds are not written down here: they are what leak.WindowOf and
// leak.ResidueOf say of the same settings. A measurement outside of [lower, upper + S] fails.
// The suite ends with a table, and writes reports/physics/latest.json and latest.txt.
package physics
