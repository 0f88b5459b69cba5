// Package fault holds everything that can go wrong, a file a family.
//
// A fault obeys these rules:
//
//  1. Inject does one thing to the lab and returns its undo, the Heal, and the
//     proof that it bit, the Witness. If Inject fails, it has undone what it did.
//  2. A Heal may be called more than once, and after the spec was cancelled: it
//     gets a context of its own.
//  3. A Witness only looks. It is asked right after Inject and again before the
//     Heal, and tells a counter that moved, a pid that is gone, a mapping that is
//     missing. A fault without a witness makes its spec INCONCLUSIVE.
//  4. Describe says what the fault is, where it bites, and its Class: which rows
//     of the window table apply to the connections that go through it; and Ends,
//     if it kills a process, or that would count as one that died by itself.
//  5. A Class is a promise about what the connections meet, so that their window is
//     sound: where packets still pass one way it is OneWay, not Silent; where nothing
//     may die it is Spared. A Sequence has the last one's; As says another.
//  6. Counters are the fault's own: rules carry a comment of their own (barrier).
//  7. A fault acts on the lab only: on hosts, links, routers and processes, never
//     on the machine, and never through the target's own interface.
package fault
