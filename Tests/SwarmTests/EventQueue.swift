/// Events of a simulated world, the earliest first; of two at one time the one that was put in first.
struct EventQueue<Event> {
    private struct Entry {
        var time: Duration
        var serial: Int
        var event: Event

        func isBefore(_ other: Entry) -> Bool { (time, serial) < (other.time, other.serial) }
    }

    private var heap: [Entry] = []
    private var serial = 0

    var isEmpty: Bool { heap.isEmpty }
    var nextTime: Duration? { heap.first?.time }

    mutating func put(_ event: Event, at time: Duration) {
        serial += 1
        heap.append(Entry(time: time, serial: serial, event: event))
        var child = heap.count - 1
        while child > 0, heap[child].isBefore(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func next() -> (time: Duration, event: Event)? {
        guard let first = heap.first else { return nil }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if heap[child].isBefore(heap[least]) { least = child }
            }
            guard least != parent else { return (first.time, first.event) }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
