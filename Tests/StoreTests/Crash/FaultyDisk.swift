import CFaultyDisk
import Glibc

@testable import Store

/// A folder whose disk fails, or loses its power, at a chosen step (`faulty_disk.h`).
final class FaultyDisk: @unchecked Sendable {
    // Sendable: every call takes the lock of the C side; the pointer never changes.
    enum Mode: Int32, CaseIterable, Sendable {
        case once = 1
        case forever = 2
        case cut = 3

        /// An open that fails is a failure; one before which the power goes is the step after it.
        var kinds: UInt32 { self == .cut ? ~(1 << FAULTY_DISK_OPEN.rawValue) : ~0 }
    }

    let sandbox: Sandbox
    private let disk: OpaquePointer

    init(_ sandbox: Sandbox) throws {
        guard let disk = faulty_disk_make(sandbox.folder) else { throw Refusal() }
        self.sandbox = sandbox
        self.disk = disk
    }

    struct Refusal: Error {}

    deinit { faulty_disk_free(disk) }

    func arm(_ mode: Mode, at step: UInt64, seed: UInt64) {
        faulty_disk_arm(disk, mode.rawValue, mode.kinds, step, seed)
    }

    /// Since it was armed.
    var steps: UInt64 { faulty_disk_steps(disk) }

    func steps(of kind: faulty_disk_kind) -> UInt64 { faulty_disk_steps_of(disk, Int32(kind.rawValue)) }

    /// What a reboot finds.
    func platter(seed: UInt64) -> Sandbox {
        let target = Sandbox.inMemory()
        faulty_disk_platter(disk, target.folder, seed)
        return target
    }
}

extension Sandbox {
    /// In memory: thousands of them are made, and what is on their disk is for ``FaultyDisk`` to say.
    static func inMemory() -> Sandbox { Sandbox(in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") }

    /// Everything in it, folders included.
    func copied() -> Sandbox {
        let copy = Sandbox.inMemory()
        Self.copy(folder, to: copy.folder)
        return copy
    }

    private static func copy(_ source: String, to target: String) {
        for name in names(source) where !name.hasSuffix("-shm") && !name.hasSuffix(".lock") {
            var status = stat()
            guard lstat("\(source)/\(name)", &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                mkdir("\(target)/\(name)", 0o700)
                copy("\(source)/\(name)", to: "\(target)/\(name)")
            } else {
                write(read("\(source)/\(name)"), to: "\(target)/\(name)")
            }
        }
    }
}
