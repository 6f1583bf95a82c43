import CRecallModel
package import Core
package import GGUF

/// igris-recall, part of this program.
package enum EmbeddedModel {
    package static func file() throws(RuntimeError) -> GGUFFile {
        try GGUFFile(bytes: UnsafeRawBufferPointer(start: igris_recall_model(), count: igris_recall_model_size()))
    }
}

extension EmbeddedModel {
    /// Whether the built-in engine could run another file: one of the same architecture, with a vocabulary of bytes.
    package static func isOfItsKind(_ file: GGUFFile) -> Bool {
        (try? LlamaShape(file)) != nil && (try? ByteVocabulary(file)) != nil
    }
}
