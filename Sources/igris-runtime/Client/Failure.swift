import ArgumentParser
import Core

/// Runs a command's work and ends the program as sysexits.h says when it fails.
func reporting(_ work: () async throws -> Void) async throws {
    do {
        try await work()
    } catch let error as RuntimeError {
        Terminal.complain(error.message)
        switch error.code {
        case .unavailable: throw Exit.unavailable
        case .unauthenticated, .forbidden: throw Exit.denied
        case .configuration: throw Exit.settings
        case .invalidRequest: throw Exit.usage
        default: throw Exit.failure
        }
    } catch let exit as ExitCode {
        throw exit
    } catch {
        Terminal.complain("the connection to the daemon broke off; try again (\(error))")
        throw Exit.unavailable
    }
}
