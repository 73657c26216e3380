//! Startup packet, SSLRequest, GSSENCRequest, CancelRequest.
