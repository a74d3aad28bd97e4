//! The examples of AWS's Signature Version 4 test suite, and requests that were changed afterwards.

use super::*;
use crate::http::request;

const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z
const NOW_S: u64 = 1_440_938_160;

/// Verifies a request of the suite, whose signature is `hex`.
#[track_caller]
fn judged(text: &str, headers: &str, hex: &str, now_s: u64) -> Result<(), Fault> {
    let value = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders={headers}, Signature={hex}"
    );
    let head = request::parse(text.as_bytes()).unwrap().unwrap();
    let method = text.split(' ').next().unwrap();
    let wanted = Wanted { method, head: &head, bytes: text.as_bytes(), now_s, skew_s: 300 };
    verify(&Signature::read(value.as_bytes()).unwrap(), SECRET, &wanted)
}

const LINES: &str = "HTTP/1.1\r\nHost: example.amazonaws.com\r\nX-Amz-Date: 20150830T123600Z\r\n";
const VANILLA: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

#[test]
fn requests_of_the_test_suite_verify() {
    for (line, more, headers, hex) in [
        ("GET / ", "", "host;x-amz-date", VANILLA),
        (
            "GET /?Param2=value2&Param1=value1 ",
            "",
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "POST / ",
            "",
            "host;x-amz-date",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "GET / ",
            "My-Header1: value4\r\nMy-Header1: value1\r\nMy-Header1: value3\r\n\
             My-Header1: value2\r\n",
            "host;my-header1;x-amz-date",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        (
            "GET / ",
            "My-Header1:  value1\r\nMy-Header2: \"a   b   c\"\r\n",
            "host;my-header1;my-header2;x-amz-date",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
    ] {
        let text = format!("{line}{LINES}{more}\r\n");
        assert_eq!(judged(&text, headers, hex, NOW_S), Ok(()), "{text}");
    }
}

#[test]
fn what_was_changed_afterwards_is_refused() {
    let vanilla = format!("GET / {LINES}\r\n");
    let judge = |text: &str, now_s| judged(text, "host;x-amz-date", VANILLA, now_s);
    for (from, to) in [("GET", "PUT"), ("/ ", "/a "), ("/ ", "/?a=b "), ("example", "other")] {
        assert_eq!(judge(&vanilla.replacen(from, to, 1), NOW_S), Err(Fault::Mismatch), "{to}");
    }
    assert_eq!(judge(&vanilla, NOW_S + 300), Ok(()));
    assert_eq!(judge(&vanilla, NOW_S + 301), Err(Fault::Skewed));
    assert_eq!(judge(&vanilla, NOW_S - 301), Err(Fault::Skewed));
    let undated = "GET / HTTP/1.1\r\nHost: example.amazonaws.com\r\n\r\n";
    assert_eq!(judge(undated, NOW_S), Err(Fault::Skewed));
    let other = vanilla.replace("20150830T", "20150829T");
    assert_eq!(judge(&other, NOW_S - 86_400), Err(Fault::Skewed), "the day is not the scope's");
    let upload = format!("PUT /a {LINES}Content-Length: 1\r\n\r\n");
    assert_eq!(judge(&upload, NOW_S), Err(Fault::NoPayload));
}

#[test]
fn malformed_values_are_refused() {
    let good = format!(
        "AWS4-HMAC-SHA256 Credential=A/20150830/r/s/aws4_request,SignedHeaders=host,\
         Signature={VANILLA}"
    );
    assert!(Signature::read(good.as_bytes()).is_ok());
    for (from, to) in [
        ("SignedHeaders=host", "SignedHeaders=x-amz-date"),
        ("/aws4_request", "/aws5_request"),
        ("/r/s/", "/s/"),
        ("Signature=5", "Signature="),
        ("Credential=A/", "Credential=A"),
        ("Signature=", "Sig="),
    ] {
        let text = good.replace(from, to);
        assert_eq!(Signature::read(text.as_bytes()).err(), Some(Fault::Malformed), "{text}");
    }
    for end in 0..good.len() {
        let _ = Signature::read(&good.as_bytes()[..end]);
    }
}

#[test]
fn times_are_read() {
    for (text, seconds) in [
        ("19700101T000000Z", Some(0)),
        ("20150830T123600Z", Some(NOW_S)),
        ("20000229T235959Z", Some(951_868_799)),
        ("21000301T000000Z", Some(4_107_542_400)),
        ("20150830T123600", None),
        ("20151330T123600Z", None),
        ("2015083 T123600Z", None),
        ("+0150830T123600Z", None),
        ("", None),
    ] {
        assert_eq!(unix_s(text.as_bytes()), seconds, "{text}");
    }
}
