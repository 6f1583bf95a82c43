import Core

/// One failure in Ollama's words: `{"error": "text"}`.
enum OllamaError {
    static func body(_ error: APIError) -> [UInt8] { (["error": .string(error.message)] as JSON).encoded }
}
