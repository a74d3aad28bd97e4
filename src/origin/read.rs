//! GET and HEAD: what an answer to a read consists of.

use crate::http::condition::{self, Outcome, Validators};
use crate::http::known::Known;
use crate::http::range::{self, ByteRange, RangeList, Ranges};
use crate::http::request::{Head, Method};
use crate::store::object::Record;

/// What to answer.
pub enum Plan {
    /// 200 with the whole body.
    Whole,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    Unsatisfiable,
    /// 206 with one range.
    Part(ByteRange),
    /// 206 with several ranges (multipart/byteranges).
    Parts(Box<RangeList>),
}

/// Headers that make a read more than a plain one.
const SPECIAL: [Known; 6] = [
    Known::Range,
    Known::IfRange,
    Known::IfMatch,
    Known::IfNoneMatch,
    Known::IfModifiedSince,
    Known::IfUnmodifiedSince,
];

/// Whether neither conditions nor ranges have to be looked at.
#[inline]
pub fn is_plain(head: &Head) -> bool {
    !SPECIAL.iter().any(|&known| head.has(known))
}

/// Plans the answer to a read of `record`, whose body has `length` bytes where it is complete.
/// Ranges of a body that is still arriving are not served: the answer is the whole.
pub fn plan(head: &Head, bytes: &[u8], record: &Record, length: Option<u64>) -> Plan {
    let validators = Validators {
        etag: record.etag(),
        modified_s: record.modified_s(),
        // A live playlist may well change twice within a second.
        modified_is_strong: false,
    };
    //= RFC 9110 section 13.2.2
    match condition::evaluate_read(head, bytes, validators) {
        Outcome::NotModified => return Plan::NotModified,
        Outcome::PreconditionFailed => return Plan::PreconditionFailed,
        Outcome::Proceed => {}
    }
    let (Some(length), Some(value)) = (length, head.header(bytes, Known::Range)) else {
        return Plan::Whole;
    };
    //= RFC 9110 section 14.2: GET is the only method with ranges
    if head.method != Method::Get {
        return Plan::Whole;
    }
    if head.is_repeated(Known::Range) || !condition::if_range_holds(head, bytes, validators) {
        return Plan::Whole;
    }
    match range::parse(value, length) {
        Ranges::Ignore => Plan::Whole,
        Ranges::Unsatisfiable => Plan::Unsatisfiable,
        Ranges::Satisfiable(list) => match list.single() {
            Some(part) => Plan::Part(part),
            None => Plan::Parts(Box::new(list)),
        },
    }
}
