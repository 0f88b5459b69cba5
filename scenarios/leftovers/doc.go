// Package leftovers kills the harness at random moments and looks for what stays
// behind: on the machine and in the folder of results. It has tests only.
//
// A round starts a victim (scripts/soak, the ginkgo command, or a compiled test
// process: its outer stage or its inner one) as the leader of a process group of
// its own, waits a drawn time, and ends it: SIGKILL or SIGTERM to the victim
// alone, or Ctrl-C (SIGINT to its group, as a terminal does) once or twice.
//
// The clock starts with the last signal after SIGKILL and the second Ctrl-C. A
// single SIGTERM or Ctrl-C asks for an orderly end, which may take a minute: then
// the clock starts when the victim has ended. Three seconds later,
//
//   - no process that descends from the victim is there, compilers included (the
//     test is their subreaper, so none can hide by losing its parent);
//   - no network, mount, pid or user namespace that one of them was in has a
//     holder, and no namespace newer than the round has one below the test;
//   - the victim's temporary folder and its cache are as empty as before.
//
// Then it compares the host's own network with that before the round: links, mounts,
// sysctls, and as root the rules of iptables and nft. Counters do not count, nor
// sysctls that appear because the kernel loaded a module.
//
// In HALFOPEN_OUT lies nothing but run folders and the link to the latest. A run
// folder has a whole report (index.html, summary.json, a record that can be read).
// After SIGKILL it may have none: then its record must be readable, if need be
// without its last line, and reports.Write must make the whole report of it.
//
// One thing is not the harness's to mend: ginkgo, ended at once while it compiles a
// suite, leaves the go command to finish, go's temporary folder, and the compiled
// suite in the suite's folder; killed with SIGKILL later, that suite. Such a round
// counts as Ginkgo's own; what stays must be just that, and the go command must end
// by itself. scripts/soak compiles elsewhere, and leaves nothing. SIGTERM to ginkgo
// alone is not passed on to its test processes: it runs to its end.
package leftovers
