/// The museum: faults of programming that the simulator must find (docs/simulation.md). None of them is in the shipped
/// code; each corrupts what the machines are told or what becomes of their effects, in the shell of one run.
package enum Bug: String, Sendable, CaseIterable {
    case placeholder
}
