//! Walks through an origin's listings: one level of a folder at a time, page by page.
//!
//! **Invariants**: memory is one page for each folder that the walk is within, and pages get
//! smaller with depth; a walk ends, whatever the origin answers.

use serde_json::Value;

use super::fault::{Fault, plain};
use super::origin::{Body, Origin};
use super::url::{Url, encoded};
use crate::limits::client::{DEPTH_MAX, PAGE_BYTES_MAX, PAGE_ITEMS_MAX, PAGE_ITEMS_MIN};

/// An object, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its whole key.
    pub key: String,
    /// Its bytes; unknown while it arrives.
    pub length: Option<u64>,
    /// Its Content-Type.
    pub content_type: String,
    /// Seconds until it is gone.
    pub left_s: Option<u64>,
}

impl Object {
    /// Whether its name came through JSON with something lost, as bytes do that are no UTF-8.
    pub fn is_unsayable(&self) -> bool {
        self.key.contains('\u{fffd}')
    }

    /// A failure that it met, with its name.
    pub fn fault(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Refused(404, _) if self.is_unsayable() => Fault::Answer(format!(
                "/{}: its name is no UTF-8; name it by %XX",
                plain(&self.key)
            )),
            Fault::Refused(status, said) => {
                let said = Fault::Refused(status, said);
                Fault::Answer(format!("/{}: {said}", plain(&self.key)))
            }
            other => other,
        }
    }
}

/// One level of the walk.
struct Level {
    /// With a slash at its end, or empty.
    folder: String,
    items: std::vec::IntoIter<Item>,
    /// The name after which more follow.
    next: Option<String>,
}

struct Item {
    name: String,
    /// Length, type and seconds left; a folder has none.
    object: Option<(Option<u64>, String, Option<u64>)>,
}

/// Visits all objects whose key begins with the URL's, in the order of names; how many there were.
///
/// # Errors
/// 404 when there is none, and what the visit fails with.
pub fn walk(
    origin: &mut Origin,
    url: &Url,
    visit: &mut dyn FnMut(&mut Origin, Object) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    let prefix = String::from_utf8(url.key.clone())
        .map_err(|_| Fault::Usage(format!("{url}: listings have names of UTF-8 only")))?;
    let folder = &prefix[..prefix.rfind('/').map_or(0, |at| at + 1)];
    let mut levels = vec![open(origin, url, folder, None, 0).map_err(unlisted)?];
    let mut visited = 0;
    while let Some(level) = levels.last_mut() {
        let Some(item) = level.items.next() else {
            let Some(next) = level.next.take() else {
                levels.pop();
                continue;
            };
            let folder = level.folder.clone();
            let depth = levels.len() - 1;
            match open(origin, url, &folder, Some(&next), depth) {
                Ok(page) => levels[depth] = page,
                // The rest of it went meanwhile.
                Err(fault) if fault.is_absent() => {}
                Err(fault) => return Err(fault),
            }
            continue;
        };
        let key = format!("{}{}", level.folder, item.name);
        let is_below = key.starts_with(&prefix);
        match item.object {
            Some((length, content_type, left_s)) if is_below => {
                visited += 1;
                visit(origin, Object { key, length, content_type, left_s })?;
            }
            None if is_below && levels.len() < DEPTH_MAX => {
                match open(origin, url, &format!("{key}/"), None, levels.len()) {
                    Ok(page) => levels.push(page),
                    // Its last object went meanwhile.
                    Err(fault) if fault.is_absent() => {}
                    Err(fault) => return Err(fault),
                }
            }
            _ => {}
        }
    }
    if visited == 0 && !prefix.is_empty() {
        return Err(unlisted(Fault::Refused(404, String::new())));
    }
    Ok(visited)
}

/// Says what a missing folder need not mean.
fn unlisted(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(404, _) => Fault::Answer(
            "nothing is listed there (404); an origin lists what it has in memory and on disk, not \
             what only its remote store has"
                .to_owned(),
        ),
        other => other,
    }
}

/// One page of a folder.
fn open(
    origin: &mut Origin,
    url: &Url,
    folder: &str,
    after: Option<&str>,
    depth: usize,
) -> Result<Level, Fault> {
    let items = (PAGE_ITEMS_MAX >> (depth / 4).min(16)).max(PAGE_ITEMS_MIN);
    let path = encoded(folder.as_bytes(), b"/");
    let mut query = format!("Path={path}&MaxResults={items}");
    if let Some(after) = after {
        query.push_str(&format!("&NextToken={}", encoded(after.as_bytes(), b"")));
    }
    let target = url.with_key(b"").target_with(&query);
    origin.ask("GET", &target, &[], Body::None)?;
    let body = origin.read_all(PAGE_BYTES_MAX)?;
    let (items, next) = page(&body, after)
        .map_err(|what| Fault::Answer(format!("the listing of /{path} {what}")))?;
    Ok(Level { folder: folder.to_owned(), items: items.into_iter(), next })
}

/// What one page says.
fn page(body: &[u8], after: Option<&str>) -> Result<(Vec<Item>, Option<String>), &'static str> {
    let json: Value = serde_json::from_slice(body).map_err(|_| "is not JSON")?;
    let items = json["Items"].as_array().ok_or("has no Items")?;
    let items: Option<Vec<Item>> = items.iter().map(item).collect();
    let items = items.ok_or("has an item without a name")?;
    let next = json["NextToken"].as_str().map(str::to_owned);
    // Names only go up, so the walk comes to an end.
    if next.is_some() && next.as_deref() <= after {
        return Err("does not go on");
    }
    Ok((items, next))
}

fn item(json: &Value) -> Option<Item> {
    let name = json["Name"].as_str().filter(|name| !name.is_empty() && !name.contains('/'))?;
    let object = match json["Type"].as_str()? {
        "FOLDER" => None,
        _ => {
            let content_type = json["ContentType"].as_str().unwrap_or("-");
            let number = |name: &str| json[name].as_u64();
            Some((number("ContentLength"), content_type.to_owned(), number("SecondsLeft")))
        }
    };
    Some(Item { name: name.to_owned(), object })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let body = br#"{"Items":[{"Name":"a","Type":"OBJECT","ETag":"t","LastModified":"x",
            "ContentType":"video/mp4","ContentLength":7,
            "SecondsLeft":3},{"Name":"b","Type":"FOLDER"},
            {"Name":"c","Type":"OBJECT","ContentType":"video/mp4"}],"NextToken":"c"}"#;
        let (items, next) = page(body, Some("Z")).unwrap();
        assert_eq!(next.as_deref(), Some("c"));
        let mp4 = || "video/mp4".to_owned();
        let objects: Vec<_> = items.into_iter().map(|item| (item.name, item.object)).collect();
        let wanted =
            [("a", Some((Some(7), mp4(), Some(3)))), ("b", None), ("c", Some((None, mp4(), None)))];
        assert_eq!(objects, wanted.map(|(name, object)| (name.to_owned(), object)));
    }

    #[test]
    fn a_listing_that_turns_in_circles_is_an_error() {
        let body = br#"{"Items":[],"NextToken":"c"}"#;
        assert!(page(body, None).is_ok());
        assert!(page(body, Some("b")).is_ok());
        assert_eq!(page(body, Some("c")).err(), Some("does not go on"));
        assert_eq!(page(body, Some("d")).err(), Some("does not go on"));
        for bad in ["[]", "{", r#"{"Items":[{"Name":"../a/b","Type":"OBJECT"}]}"#, "{\"Items\":3}"]
        {
            assert!(page(bad.as_bytes(), None).is_err(), "{bad}");
        }
    }
}
