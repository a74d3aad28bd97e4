//! Receive buffers, kept by thread: a connection holds one only while bytes are there to read.

use std::cell::RefCell;

use crate::limits::{CLIENT_BUFFER_BYTES, CLIENT_BUFFERS_KEPT};

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for [`CLIENT_BUFFER_BYTES`].
pub fn take() -> Vec<u8> {
    let kept = KEPT.with(|kept| kept.borrow_mut().pop());
    kept.unwrap_or_else(|| Vec::with_capacity(CLIENT_BUFFER_BYTES))
}

/// Keeps `buffer` for the next [`take`]; frees it when enough are kept.
pub fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() < CLIENT_BUFFER_BYTES {
        return;
    }
    buffer.clear();
    KEPT.with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.len() < CLIENT_BUFFERS_KEPT {
            kept.push(buffer);
        }
    });
}
