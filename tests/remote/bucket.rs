//! What requests to the scripted S3 come to: PUT, GET (also a range, also of one version), HEAD,
//! uploads in parts, and POST with a list of keys to delete; no listing, no signatures.

use std::collections::{BTreeMap, HashMap};

use crate::scripted::refusal;

/// Lines behind the status, each with its end, and the body.
pub type Answer = (String, Vec<u8>);

#[derive(Clone)]
struct Object {
    /// Lines of the head that are given back, each with its end.
    lines: String,
    tag: String,
    body: Vec<u8>,
}

/// An upload in parts: lines of its head, and the parts by number.
type Upload = (String, BTreeMap<u32, Vec<u8>>);

/// The objects.
#[derive(Default)]
pub struct Bucket {
    objects: HashMap<String, Object>,
    /// By name with the query.
    pub uploads: HashMap<String, Upload>,
    /// Counts versions and uploads.
    number: usize,
    /// GETs, and the bytes that they asked for.
    pub asked: (usize, usize),
}

impl Bucket {
    pub fn body(&self, name: &str) -> Option<Vec<u8>> {
        self.objects.get(name).map(|object| object.body.clone())
    }

    /// Makes this the object; its new tag.
    pub fn put(&mut self, name: String, lines: String, body: Vec<u8>) -> String {
        self.number += 1;
        let tag = format!("\"{}-{}\"", body.len(), self.number);
        self.objects.insert(name, Object { lines, tag: tag.clone(), body });
        tag
    }

    pub fn carry_out(&mut self, head: &[String], body: Vec<u8>) -> Answer {
        let mut words = head[0].split(' ');
        let (method, name) = (words.next().unwrap(), words.next().unwrap().to_owned());
        match (method, name.split_once('?')) {
            ("PUT", None) => {
                let tag = self.put(name, kept_lines(head), body);
                (format!("200 OK\r\nETag: {tag}\r\n"), Vec::new())
            }
            ("PUT", Some((name, query))) => self.put_part(name, query, body),
            ("POST", Some((name, "uploads="))) | ("POST", Some((name, "uploads"))) => {
                self.number += 1;
                let id = format!("u{}", self.number);
                let upload = (kept_lines(head), BTreeMap::new());
                self.uploads.insert(format!("{name}?uploadId={id}"), upload);
                let text = format!("<UploadId>{id}</UploadId>");
                told(&format!(
                    "<InitiateMultipartUploadResult>{text}</InitiateMultipartUploadResult>"
                ))
            }
            ("POST", Some((object, query))) if query.starts_with("uploadId=") => {
                let Some((lines, parts)) = self.uploads.remove(&name) else {
                    return refusal("404 Not Found", "NoSuchUpload");
                };
                let whole = parts.into_values().collect::<Vec<_>>().concat();
                let tag = self.put(object.to_owned(), lines, whole);
                let text = format!("<ETag>{}</ETag>", tag.replace('"', "&quot;"));
                told(&format!(
                    "<CompleteMultipartUploadResult>{text}</CompleteMultipartUploadResult>"
                ))
            }
            ("DELETE", Some(_)) => {
                self.uploads.remove(&name);
                ("204 No Content\r\n".to_owned(), Vec::new())
            }
            ("POST", _) => self.delete_all(&body),
            ("GET" | "HEAD", _) => self.give(&name, head, method == "GET"),
            _ => refusal("501 Not Implemented", "NotImplemented"),
        }
    }

    fn put_part(&mut self, name: &str, query: &str, body: Vec<u8>) -> Answer {
        let (number, id) = query.split_once('&').unwrap();
        let number = number.strip_prefix("partNumber=").unwrap().parse().unwrap();
        let Some((_, parts)) = self.uploads.get_mut(&format!("{name}?{id}")) else {
            return refusal("404 Not Found", "NoSuchUpload");
        };
        parts.insert(number, body);
        (format!("200 OK\r\nETag: \"part-{number}\"\r\n"), Vec::new())
    }

    fn delete_all(&mut self, body: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(body);
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        let mut deleted = String::new();
        for (key, _) in keys {
            self.objects.remove(&format!("/bucket/{key}"));
            deleted += &format!("<Deleted><Key>{key}</Key></Deleted>");
        }
        let xmlns = "http://s3.amazonaws.com/doc/2006-03-01/";
        told(&format!("<DeleteResult xmlns=\"{xmlns}\">{deleted}</DeleteResult>"))
    }

    fn give(&mut self, name: &str, head: &[String], is_get: bool) -> Answer {
        let Some(Object { lines, tag, body }) = self.objects.get(name) else {
            return refusal("404 Not Found", "NoSuchKey");
        };
        if header(head, "if-match").is_some_and(|wanted| wanted != tag) {
            return refusal("412 Precondition Failed", "PreconditionFailed");
        }
        let modified = "Last-Modified: Sat, 01 Nov 2025 00:00:00 GMT\r\n";
        let lines = format!("{modified}ETag: {tag}\r\n{lines}");
        let range = header(head, "range").map(|range| range["bytes=".len()..].split_once('-'));
        let Some((first, last)) = range.map(Option::unwrap) else {
            self.asked.0 += usize::from(is_get);
            self.asked.1 += if is_get { body.len() } else { 0 };
            return (format!("200 OK\r\n{lines}"), body.clone());
        };
        let first: usize = first.parse().unwrap();
        if first >= body.len() {
            return refusal("416 Range Not Satisfiable", "InvalidRange");
        }
        let end = last.parse().map_or(body.len(), |last: usize| (last + 1).min(body.len()));
        let range = format!("Content-Range: bytes {first}-{}/{}\r\n", end - 1, body.len());
        let part = body[first..end].to_vec();
        self.asked = (self.asked.0 + 1, self.asked.1 + part.len());
        (format!("206 Partial Content\r\n{range}{lines}"), part)
    }
}

fn told(xml: &str) -> Answer {
    ("200 OK\r\n".to_owned(), xml.as_bytes().to_vec())
}

/// The lines of a PUT that its object's answers have.
fn kept_lines(head: &[String]) -> String {
    let kept = ["content-type:", "cache-control:", "x-amz-meta-"];
    let is_kept =
        |line: &&String| kept.iter().any(|name| line.to_ascii_lowercase().starts_with(name));
    head.iter().filter(is_kept).map(|line| format!("{line}\r\n")).collect()
}

pub fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().skip(1).find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
