//! Listings: `GET /?Path=&MaxResults=&NextToken=` answers one level of a folder in name order.

use crate::http::date;
use crate::limits::{KEY_BYTES_MAX, LIST_ITEMS_MAX};
use crate::store::message::Item;
use crate::store::object::{Millis, NEVER};

use super::dialect::Dialect;
use super::key;
use super::query;

/// What a listing asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The folder, without slashes at its ends; empty is the root.
    pub folder: Box<[u8]>,
    /// Names after this one.
    pub after: Box<[u8]>,
    /// At most how many.
    pub count_max: usize,
}

/// Reads the query of a listing.
///
/// # Errors
/// A sentence for the 400.
pub fn wanted(query: &[u8]) -> Result<Wanted, &'static str> {
    let folder = query::value(query, b"Path").unwrap_or_default();
    let folder = folder.strip_prefix(b"/").unwrap_or(&folder);
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    if !folder.is_empty() {
        key::check(folder).map_err(key::Fault::reason)?;
    }
    let count_max = match query::value(query, b"MaxResults") {
        None => LIST_ITEMS_MAX,
        Some(value) => query::number(&value)
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| (1..=LIST_ITEMS_MAX).contains(count))
            .ok_or("MaxResults is not a number from 1 to 1000")?,
    };
    let after = query::value(query, b"NextToken").unwrap_or_default();
    Ok(Wanted { folder: folder.into(), after: after.into_owned().into(), count_max })
}

/// What a listing reads, for judging it: the folder with a slash at its end, nothing for the root.
pub fn subject<'a>(query: &[u8], room: &'a mut [u8; KEY_BYTES_MAX + 1]) -> &'a [u8] {
    let named = query::value_into(query, b"Path", &mut room[..KEY_BYTES_MAX]);
    // A name that is too long is refused when it is looked at.
    let len = named.ok().flatten().map_or(0, |name| name.len());
    let start = usize::from(room[..len].starts_with(b"/"));
    let open = len > start && room[len - 1] != b'/';
    if open {
        room[len] = b'/';
    }
    &room[start..(len + usize::from(open)).max(start)]
}

/// The JSON of a listing: `Items` and, when more follow, `NextToken`: the name after which they do.
/// What expires says how many whole seconds are left.
pub fn render(items: &[Item], next: Option<&[u8]>, dialect: Dialect, now_ms: Millis) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + items.len() * 256);
    out.extend_from_slice(b"{\"Items\":[");
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        render_item(item, dialect, now_ms, &mut out);
    }
    out.push(b']');
    if let Some(next) = next {
        out.extend_from_slice(b",\"NextToken\":");
        string(next, &mut out);
    }
    out.extend_from_slice(b"}\n");
    out
}

fn render_item(item: &Item, dialect: Dialect, now_ms: Millis, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"Name\":");
    string(&item.name, out);
    let Some(record) = &item.object else {
        out.extend_from_slice(b",\"Type\":\"FOLDER\"}");
        return;
    };
    out.extend_from_slice(b",\"Type\":\"OBJECT\",\"ETag\":");
    // The listing shows tags without their quotes.
    let tag = record.etag().strip_prefix(b"\"").unwrap_or(record.etag());
    string(tag.strip_suffix(b"\"").unwrap_or(tag), out);
    out.extend_from_slice(b",\"LastModified\":");
    match dialect {
        // A timestamp in the JSON of AWS is a number of seconds.
        Dialect::MediaStore => out.extend_from_slice(record.modified_s().to_string().as_bytes()),
        _ => string(&date::format(record.modified_s()), out),
    }
    out.extend_from_slice(b",\"ContentType\":");
    string(&record.fields.content_type, out);
    if let Some(length) = record.length() {
        out.extend_from_slice(b",\"ContentLength\":");
        out.extend_from_slice(length.to_string().as_bytes());
    }
    // A large file's description ends, and is made again; the file does not.
    if record.expires_ms != NEVER && !record.is_in_chunks() {
        out.extend_from_slice(b",\"SecondsLeft\":");
        let left_s = record.expires_ms.saturating_sub(now_ms) / 1000;
        out.extend_from_slice(left_s.to_string().as_bytes());
    }
    out.push(b'}');
}

/// A JSON string; bytes that are not UTF-8 become U+FFFD.
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(bytes);
    serde_json::to_writer(out, text.as_ref()).expect("a string is always JSON, a Vec grows");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::fields::Fields;
    use crate::store::object::{Body, Parts, Record, Whole};

    #[test]
    fn a_listing_is_json_with_the_last_name_as_token() {
        let record = |expires_ms| {
            Record::new(Parts {
                key: b"live/a\"b.ts",
                etag: b"\"tag\"",
                fields: Arc::new(Fields {
                    content_type: b"video/mp2t"[..].into(),
                    ..Fields::default()
                }),
                modified_s: 0,
                stored_ms: 0,
                expires_ms,
                body: Body::Whole(Whole::new(7, [].into_iter().collect())),
            })
        };
        let items = [
            Item { name: b"a\"b.ts"[..].into(), object: Some(record(NEVER)) },
            Item { name: b"brief"[..].into(), object: Some(record(9_999)) },
            Item { name: b"folder"[..].into(), object: None },
        ];
        let read = |dialect| -> serde_json::Value {
            serde_json::from_slice(&render(&items, Some(b"folder"), dialect, 5_000)).unwrap()
        };
        let json = read(Dialect::Native);
        assert_eq!(json["NextToken"], "folder");
        assert_eq!(json["Items"][0]["Name"], "a\"b.ts");
        assert_eq!(json["Items"][0]["ETag"], "tag");
        assert_eq!(json["Items"][0]["ContentLength"], 7);
        assert_eq!(json["Items"][0]["LastModified"], "Thu, 01 Jan 1970 00:00:00 GMT");
        assert!(json["Items"][0]["SecondsLeft"].is_null());
        assert_eq!(json["Items"][1]["SecondsLeft"], 4);
        assert_eq!(json["Items"][2]["Type"], "FOLDER");
        assert_eq!(read(Dialect::MediaStore)["Items"][0]["LastModified"], 0);
    }

    #[test]
    fn the_query_is_checked() {
        let wanted_all = wanted(b"").unwrap();
        assert_eq!((wanted_all.folder.len(), wanted_all.count_max), (0, 1000));
        assert_eq!(&*wanted(b"Path=/live/a/&MaxResults=2").unwrap().folder, b"live/a");
        assert!(wanted(b"MaxResults=0").is_err());
        assert!(wanted(b"Path=a//b").is_err());
    }
}
