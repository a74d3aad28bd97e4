//! What goes back: statuses, refusals, and a writer of heads into the caller's memory.
//!
//! **Invariants**: nothing is written past the given memory; a writer that ran out says so once,
//! at [`Writer::end`], and its bytes are not to be sent; no header value can end its line.

macro_rules! statuses {
    ($($variant:ident = $code:literal $reason:literal,)*) => {
        /// A status of an answer.
        //= RFC 9110 section 15
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Status { $(#[doc = concat!(stringify!($code), " ", $reason)] $variant = $code,)* }

        impl Status {
            /// Every status that the origin sends.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The reason phrase.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$variant => $reason,)* }
            }

            /// The status line with its CRLF.
            #[must_use]
            pub const fn line(self) -> &'static [u8] {
                match self {
                    $(Self::$variant => {
                        concat!("HTTP/1.1 ", stringify!($code), " ", $reason, "\r\n").as_bytes()
                    })*
                }
            }
        }
    };
}

statuses! {
    Continue = 100 "Continue",
    SwitchingProtocols = 101 "Switching Protocols",
    Ok = 200 "OK",
    Created = 201 "Created",
    NoContent = 204 "No Content",
    PartialContent = 206 "Partial Content",
    NotModified = 304 "Not Modified",
    BadRequest = 400 "Bad Request",
    Unauthorized = 401 "Unauthorized",
    Forbidden = 403 "Forbidden",
    NotFound = 404 "Not Found",
    MethodNotAllowed = 405 "Method Not Allowed",
    RequestTimeout = 408 "Request Timeout",
    Conflict = 409 "Conflict",
    LengthRequired = 411 "Length Required",
    PreconditionFailed = 412 "Precondition Failed",
    ContentTooLarge = 413 "Content Too Large",
    UriTooLong = 414 "URI Too Long",
    UnsupportedMediaType = 415 "Unsupported Media Type",
    RangeNotSatisfiable = 416 "Range Not Satisfiable",
    ExpectationFailed = 417 "Expectation Failed",
    UpgradeRequired = 426 "Upgrade Required",
    TooManyRequests = 429 "Too Many Requests",
    HeadersTooLarge = 431 "Request Header Fields Too Large",
    InternalServerError = 500 "Internal Server Error",
    NotImplemented = 501 "Not Implemented",
    ServiceUnavailable = 503 "Service Unavailable",
    GatewayTimeout = 504 "Gateway Timeout",
    VersionNotSupported = 505 "HTTP Version Not Supported",
    InsufficientStorage = 507 "Insufficient Storage",
}

impl Status {
    /// The three-digit code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }
}

/// Why a message was refused. The connection answers once and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status to answer with.
    pub status: Status,
    /// What was wrong: a short lower-case clause.
    pub reason: &'static str,
}

impl Refusal {
    /// 400 for `reason`.
    #[must_use]
    pub const fn bad(reason: &'static str) -> Self {
        Self { status: Status::BadRequest, reason }
    }

    /// `status` for `reason`.
    #[must_use]
    pub const fn new(status: Status, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// The head did not fit the memory it was written into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// Writes a head (and small bodies) into a slice.
pub struct Writer<'a> {
    out: &'a mut [u8],
    /// Bytes written; `len <= out.len()`.
    len: usize,
    overflowed: bool,
}

impl<'a> Writer<'a> {
    /// A writer at the start of `out`.
    #[inline]
    #[must_use]
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, overflowed: false }
    }

    /// The status line.
    #[inline]
    pub fn status(&mut self, status: Status) {
        self.raw(status.line());
    }

    /// `name: value` and CRLF. CR, LF and NUL in `value` are written as spaces, so that no value
    /// can end its line.
    //= RFC 9110 section 5.5
    #[inline]
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        let total = name.len() + value.len() + 4;
        let Some(line) = self.take(total) else { return };
        let (head, rest) = line.split_at_mut(name.len());
        head.copy_from_slice(name);
        let (colon, rest) = rest.split_at_mut(2);
        colon.copy_from_slice(b": ");
        let (into, end) = rest.split_at_mut(value.len());
        into.copy_from_slice(value);
        end.copy_from_slice(b"\r\n");
        // No early end: the sum is taken many bytes at a time.
        if into.iter().fold(false, |bad, byte| bad | ends_line(*byte)) {
            blank(into);
        }
    }

    /// `name: value` and CRLF with a decimal number.
    #[inline]
    pub fn header_u64(&mut self, name: &[u8], value: u64) {
        let mut digits = [0; DIGITS_MAX];
        let digits = decimal(value, &mut digits);
        self.raw(name);
        self.raw(b": ");
        self.raw(digits);
        self.raw(b"\r\n");
    }

    /// A decimal number.
    #[inline]
    pub fn number(&mut self, value: u64) {
        let mut digits = [0; DIGITS_MAX];
        self.raw(decimal(value, &mut digits));
    }

    /// Bytes as they are: prepared header lines, or a body after the head.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        if let Some(into) = self.take(bytes.len()) {
            into.copy_from_slice(bytes);
        }
    }

    /// The empty line that ends the head.
    #[inline]
    pub fn end_head(&mut self) {
        self.raw(b"\r\n");
    }

    /// The bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ends the head with an empty line and says how many bytes it took.
    ///
    /// # Errors
    /// [`Overflow`] when anything did not fit; what was written must not be sent.
    #[inline]
    pub fn end(mut self) -> Result<usize, Overflow> {
        self.end_head();
        self.finish()
    }

    /// Says how many bytes were written, without ending the head.
    ///
    /// # Errors
    /// [`Overflow`] when anything did not fit; what was written must not be sent.
    #[inline]
    pub fn finish(self) -> Result<usize, Overflow> {
        if self.overflowed { Err(Overflow) } else { Ok(self.len) }
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let into = self.out.get_mut(self.len..self.len.saturating_add(bytes));
        match &into {
            Some(into) if !self.overflowed => self.len += into.len(),
            // Once a piece is missing, no later piece may close the gap.
            _ => {
                self.overflowed = true;
                return None;
            }
        }
        into
    }
}

#[cold]
fn blank(value: &mut [u8]) {
    for byte in value {
        if ends_line(*byte) {
            *byte = b' ';
        }
    }
}

#[inline(always)]
const fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

/// Writes `{"code":404,"error":"Not Found","message":"..."}` into `out` and says how long it is.
///
/// # Errors
/// [`Overflow`] when `out` is too small; 96 bytes and six times the message always suffice.
pub fn error_body(status: Status, message: &str, out: &mut [u8]) -> Result<usize, Overflow> {
    let mut writer = Writer::new(out);
    writer.raw(b"{\"code\":");
    writer.number(u64::from(status.code()));
    writer.raw(b",\"error\":\"");
    writer.raw(status.reason().as_bytes());
    writer.raw(b"\",\"message\":");
    json_string(message, &mut writer);
    writer.raw(b"}");
    writer.finish()
}

/// Writes `text` as a string of JSON.
pub fn json_string(text: &str, writer: &mut Writer<'_>) {
    writer.raw(b"\"");
    for byte in text.bytes() {
        match byte {
            b'"' => writer.raw(b"\\\""),
            b'\\' => writer.raw(b"\\\\"),
            //= RFC 8259 section 7
            0..=0x1f => {
                let nibbles = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                writer.raw(b"\\u00");
                writer.raw(&nibbles);
            }
            _ => writer.raw(&[byte]),
        }
    }
    writer.raw(b"\"");
}

/// Digits in the largest number.
pub const DIGITS_MAX: usize = 20;

/// `value` in decimal, written at the end of `out`.
#[inline]
pub fn decimal(value: u64, out: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut rest = value;
    let mut at = DIGITS_MAX;
    while rest >= 100 {
        let pair = pair_of(rest % 100);
        rest /= 100;
        at -= 2;
        out[at] = pair[0];
        out[at + 1] = pair[1];
    }
    let pair = pair_of(rest);
    at -= 1;
    out[at] = pair[1];
    if rest >= 10 {
        at -= 1;
        out[at] = pair[0];
    }
    &out[at..]
}

/// How many bytes [`decimal`] writes.
#[must_use]
pub const fn decimal_len(value: u64) -> usize {
    match value.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

/// The two digits of `value`, which is below 100.
#[inline]
pub(super) fn pair_of(value: u64) -> [u8; 2] {
    PAIRS[usize::try_from(value % 100).unwrap_or(0)]
}

const PAIRS: [[u8; 2]; 100] = pairs();

const fn pairs() -> [[u8; 2]; 100] {
    let mut pairs = [[b'0'; 2]; 100];
    let mut tens = 0u8;
    while tens < 10 {
        let mut ones = 0u8;
        while ones < 10 {
            pairs[(tens * 10 + ones) as usize] = [b'0' + tens, b'0' + ones];
            ones += 1;
        }
        tens += 1;
    }
    pairs
}

/// Lower-case hexadecimal digits.
pub(super) const HEX: &[u8; 16] = b"0123456789abcdef";
