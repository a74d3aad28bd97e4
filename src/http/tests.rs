//! Tests of the HTTP room.
use super::request::parse;

#[test]
fn smoke() {
    let head =
        parse(b"GET /a/b?c=d HTTP/1.1\r\nHost: x:80\r\nRange: bytes=0-1\r\n\r\n").unwrap().unwrap();
    println!("{head:?} {}", size_of_val(&head));
}
