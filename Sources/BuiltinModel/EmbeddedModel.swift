import CRecallModel
package import Core
package import GGUF

/// igris-recall, part of this program.
package enum EmbeddedModel {
    package static func file() throws(RuntimeError) -> GGUFFile {
        try GGUFFile(bytes: UnsafeRawBufferPointer(start: igris_recall_model(), count: igris_recall_model_size()))
    }
}
