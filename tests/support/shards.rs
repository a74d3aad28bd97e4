//! Which shard does what, found out from outside: by the counts that each shard shows.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::wire::Client;

/// An origin's addresses and how many shards it has.
#[derive(Clone, Copy)]
pub struct Shards {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    pub count: usize,
}

/// Shards that do something show their counts within this time.
const SHOWN_WITHIN: Duration = Duration::from_millis(40);

impl Shards {
    /// The shard that owns what lies in `folder`; stores an object there.
    #[track_caller]
    pub fn owner(&self, folder: &str) -> usize {
        let target = format!("/{folder}/owned.ts");
        let put = || Client::connect(self.http).unwrap().request("PUT", &target, &[], b"owned");
        let (owner, answer) = self.grows("headwater_objects", put);
        assert_eq!(answer.unwrap().status, 200);
        owner
    }

    /// A folder that `shard` owns.
    #[track_caller]
    pub fn folder_of(&self, shard: usize) -> String {
        let mut folders = (0..100).map(|number| format!("of-{shard}/{number}"));
        folders.find(|folder| self.owner(folder) == shard).expect("every shard owns some folders")
    }

    /// A new connection and the shard that serves it, which the kernel chooses; a shard that has
    /// many more than another hands new ones over.
    #[track_caller]
    pub fn connect(&self) -> (usize, Client) {
        let mut client = Client::connect(self.http).unwrap();
        let request = || client.request("GET", "/nothing/there", &[], b"");
        let (served_by, answer) = self.grows("headwater_requests_total", request);
        answer.unwrap();
        (served_by, client)
    }

    /// A connection that `shard` serves.
    #[track_caller]
    pub fn connection(&self, shard: usize) -> Client {
        let mut connections = (0..100).map(|_| self.connect());
        let found = connections.find(|(served_by, _)| *served_by == shard);
        found.expect("every shard gets some connections").1
    }

    /// The shard at which `name` grows by what `act` does.
    #[track_caller]
    fn grows<T>(&self, name: &str, act: impl FnOnce() -> T) -> (usize, T) {
        thread::sleep(SHOWN_WITHIN);
        let before: Vec<f64> = (0..self.count).map(|shard| self.read(name, shard)).collect();
        let outcome = act();
        thread::sleep(SHOWN_WITHIN);
        let has_grown = |&shard: &usize| self.read(name, shard) > before[shard];
        let grown: Vec<usize> = (0..self.count).filter(has_grown).collect();
        assert_eq!(grown.len(), 1, "{name} grew on {grown:?}");
        (grown[0], outcome)
    }

    fn read(&self, name: &str, shard: usize) -> f64 {
        super::metric_of(self.admin, name, &format!("shard=\"{shard}\""))
    }
}
