//! `Frame`, `FrameRun`: whole frames cut off a read buffer without copying.
