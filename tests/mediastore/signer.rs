//! Signature Version 4 as a client makes it; shares no code with the origin.

use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// A key of the client's.
pub struct Signer {
    id: String,
    secret: String,
}

impl Signer {
    pub fn new(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned() }
    }

    /// The header lines of a signed request to the host `origin`, at `skew_s` seconds from now. An
    /// empty `payload` sends no digest.
    pub fn lines(&self, method: &str, target: &str, payload: &str, skew_s: i64) -> Vec<String> {
        let time = clock(skew_s);
        let mut lines = vec![format!("x-amz-date: {time}")];
        let mut signed = vec![("host", "origin".to_owned()), ("x-amz-date", time.clone())];
        if !payload.is_empty() {
            lines.push(format!("x-amz-content-sha256: {payload}"));
            signed.insert(1, ("x-amz-content-sha256", payload.to_owned()));
        }
        let names: Vec<&str> = signed.iter().map(|header| header.0).collect();
        let names = names.join(";");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut pairs: Vec<String> =
            query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
        pairs.sort();
        let headers: String =
            signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let digest = if payload.is_empty() { hex(&Sha256::digest(b"")) } else { payload.into() };
        let request = format!(
            "{method}\n{}\n{}\n{headers}\n{names}\n{digest}",
            quoted(path),
            pairs.join("&")
        );
        let scope = format!("{}/eu-west-1/mediastore/aws4_request", &time[..8]);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in scope.split('/') {
            key = mac(&key, part.as_bytes());
        }
        let signature = hex(&mac(&key, text.as_bytes()));
        lines.push(format!(
            "Authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
             Signature={signature}",
            self.id
        ));
        lines
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A path once more percent-encoded, as services other than S3 want it signed.
fn quoted(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

/// `20261126T023000Z`
fn clock(skew_s: i64) -> String {
    let now_s = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64 + skew_s;
    let (mut days, of_day) = (now_s / 86_400, now_s % 86_400);
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 0;
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{:02}{:02}T{hour:02}{minute:02}{second:02}Z", month + 1, days + 1)
}
