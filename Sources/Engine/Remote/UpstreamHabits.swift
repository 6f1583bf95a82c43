import Core

/// How an upstream wants to be asked, where servers of the OpenAI API differ; learnt from what it refuses.
struct UpstreamHabits: Hashable, Sendable {
    static let newerLimit = "max_completion_tokens"

    /// OpenAI's newer models refuse `max_tokens`, and most other servers know nothing else.
    var limitField = "max_tokens"
    /// Another host of this program would keep the conversation, and recall what else its caller said, were it not told
    /// otherwise; strict servers refuse a field that they do not know.
    var takesStore = true
    /// Something on the way gives up on what says nothing for long, which an answer in one piece does until its end.
    var toleratesSilence = true

    func apply(to body: inout ChatBody) {
        body.limitField = limitField
        body.extras = takesStore ? [("store", false)] : []
    }

    /// Whether a request that was made with these habits and refused may be asked again with `habits`, which then know
    /// better.
    func learns(from reply: HTTPUpstream.Reply, wasWhole: Bool = false, into habits: inout UpstreamHabits) -> Bool {
        if wasWhole, [408, 504, 524].contains(reply.status) {
            habits.toleratesSilence = false
            return true
        }
        guard reply.status == 400 || reply.status == 422, let json = reply.json else { return false }
        if limitField != Self.newerLimit, Self.refuses(limitField, json) {
            habits.limitField = Self.newerLimit
        } else if takesStore, Self.refuses("store", json) {
            habits.takesStore = false
        } else {
            return false
        }
        return true
    }

    /// OpenAI names the field in `param`, FastAPI in a list of places, others in quotes at the message's beginning.
    private static func refuses(_ field: String, _ json: JSON) -> Bool {
        let error = json["error"] ?? json
        if error["param"]?.string == field { return true }
        let places = (json["detail"] ?? error["detail"])?.array ?? []
        if places.contains(where: { $0["loc"]?.array?.last?.string == field }) { return true }
        let message = (error["message"]?.string ?? error.string ?? "").prefix(120)
        return ["'", "\"", "`"].contains { message.contains($0 + field + $0) }
    }
}
