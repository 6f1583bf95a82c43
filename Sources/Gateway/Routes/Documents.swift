import CDocuments

/// Files that are part of the program.
enum Documents {
    /// docs/openapi.yaml
    static let openAPI = Array(UnsafeBufferPointer(start: igris_openapi(), count: igris_openapi_size()))
}
