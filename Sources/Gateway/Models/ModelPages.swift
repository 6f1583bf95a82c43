import Core
import HTTPTypes
import Node

/// The routes that change which models there are.
struct ModelPages: Sendable {
    static let progressType = "application/x-ndjson"

    /// Nil where this host keeps no model files.
    let models: (any ModelServices)?
    /// Opens when this host is about to end: a copy goes on after the next start.
    let draining: Latch

    func respond(to route: ModelRoute, _ exchange: Exchange, body: [UInt8], _ writer: ReplyWriter) async throws {
        guard let models else {
            throw RuntimeError(.unavailable, "this host keeps no model files; its log says why")
        }
        switch route {
        case .models:
            let fields = try AdminFields(body)
            let name = try await models.addModel(path: try fields.text("path"), name: try fields.optional("name"))
            try await writer.send(Reply(["added": .string(name)]))
        case .model(let name):
            try await models.removeModel(name)
            try await writer.send(Reply(["removed": .string(name)]))
        case .copies: try await copy(AdminFields(body), models, exchange, writer)
        }
    }

    /// Lines of JSON: how far it is, then `success` or `error`. A copy ends with its client, and goes on with the next
    /// request for the same.
    private func copy(
        _ fields: AdminFields, _ models: any ModelServices, _ exchange: Exchange, _ writer: ReplyWriter
    ) async throws {
        let (host, model, name) = (try fields.text("host"), try fields.text("model"), try fields.optional("name"))
        try await exchange.client.whilePresent {
            do {
                let made = try await draining.whileClosed {
                    try await models.copyModel(model, from: host, as: name) { progress in
                        if writer.begun == nil {
                            try await writer.openStream(HTTPFields(), type: Self.progressType)
                        }
                        try await writer.send(
                            events: Self.line([
                                "status": .string(progress.phase.rawValue), "digest": .string(progress.digest),
                                "completed": .integer(Int64(progress.bytes)), "total": .integer(Int64(progress.total)),
                            ]))
                    }
                }
                if writer.begun == nil { try await writer.openStream(HTTPFields(), type: Self.progressType) }
                try await writer.send(events: Self.line(["status": "success", "model": .string(made)]))
                try await writer.finish()
            } catch let error where draining.isOpen && !exchange.client.isGone {
                try await fail(APIError.draining, error, writer)
            } catch let error where !(error is CancellationError) && !exchange.client.isGone {
                try await fail(APIError(error), error, writer)
            }
        }
    }

    private func fail(_ failure: APIError, _ error: any Error, _ writer: ReplyWriter) async throws {
        guard writer.begun != nil else { throw error is CancellationError ? failure : error }
        try await writer.send(
            events: Self.line(["error": ["message": .string(failure.message), "code": .string(failure.code)]]))
        try await writer.finish()
    }

    private static func line(_ json: JSON) -> [UInt8] { json.encoded + [UInt8(ascii: "\n")] }
}

/// The JSON body of an operator's request.
private struct AdminFields {
    private let json: JSON

    init(_ body: [UInt8]) throws {
        json = try JSON.parse(body)
        guard json.object != nil else { throw RuntimeError(.invalidRequest, "the body must be a JSON object") }
    }

    func text(_ key: String) throws(RuntimeError) -> String {
        guard let text = try optional(key) else {
            throw RuntimeError(.invalidRequest, "\(key) is required: a text", parameter: key)
        }
        return text
    }

    func optional(_ key: String) throws(RuntimeError) -> String? {
        guard let value = json[key], value != .null else { return nil }
        guard let text = value.string, !text.isEmpty, text.utf8.count <= 4_096, !text.utf8.contains(0) else {
            throw RuntimeError(.invalidRequest, "\(key) must be a text of 1 to 4096 bytes", parameter: key)
        }
        return text
    }
}
