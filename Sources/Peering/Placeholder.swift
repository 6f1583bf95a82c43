import NIOSSL
import NIOWebSocket
