//! Bounds of topics and of those who follow them.

/// Bytes in a topic's name.
pub const TOPIC_NAME_BYTES_MAX: usize = 255;
/// Topics that one shard owns; beyond it those without subscribers give way.
pub const TOPICS_MAX: usize = 16_384;
/// Topics of which one shard has subscribers.
pub const TOPIC_COPIES_MAX: usize = 16_384;
/// Topics that are looked at for one that gives way.
pub const TOPIC_TRIES_MAX: usize = 1024;
/// Bytes in the logs of one owner, all topics together, and in all copies of one shard.
pub const TOPIC_LOGS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Topics whose old messages a shard looks at every [`TOPIC_TICK_MS`].
pub const TOPICS_SWEPT: usize = 512;
/// Topics are looked after this often, in milliseconds.
pub const TOPIC_TICK_MS: u64 = 500;
/// A copy of a topic without subscribers is kept for this time, for those that come back.
pub const TOPIC_LINGER_MS: u64 = 10_000;
/// A topic that was silent for so long gets a heartbeat, in milliseconds.
pub const TOPIC_HEARTBEAT_MS: u64 = 15_000;
/// A WebSocket whose peer says nothing for so long, not even to pings, is ended, in milliseconds.
pub const SOCKET_SILENT_MS_MAX: u64 = 60_000;
/// What was rendered of a topic is forgotten when it was silent for so long, in milliseconds.
pub const TOPIC_RENDERED_MS: u64 = 2_000;
/// Longest wait of a long-poll, in milliseconds.
pub const TOPIC_WAIT_MS_MAX: u64 = 60_000;
/// Messages in one answer to a long-poll.
pub const TOPIC_POLL_ITEMS_MAX: usize = 256;
/// Bytes of messages that a subscriber is sent at once; one message always fits.
pub const TOPIC_BATCH_BYTES_MAX: usize = 256 * 1024;
/// Subscribers that a shard sends to in one turn: about a millisecond.
pub const TOPIC_SENDS_PER_TURN: usize = 256;
/// Bytes in one message, whatever a rule says.
pub const TOPIC_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a message that is arriving which every publisher may hold.
pub const TOPIC_ARRIVING_FREE_BYTES: usize = 32 * 1024;
/// Bytes beyond these that all messages hold which are arriving at one shard.
pub const TOPIC_ARRIVING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages in one log, whatever a rule says.
pub const TOPIC_MESSAGES_MAX: usize = 100_000;
/// Bytes in one log, whatever a rule says.
pub const TOPIC_LOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest age of a message, whatever a rule says, in milliseconds.
pub const TOPIC_AGE_MS_MAX: u64 = 86_400_000;
/// Bytes in the program date time of a message.
pub const PROGRAM_DATE_BYTES_MAX: usize = 40;
/// Topics that have counts of their own in the metrics, all shards together; each is a series of
/// every family.
pub const TOPIC_SERIES_MAX: usize = 256;
/// Rules for topics.
pub const TOPIC_RULES_MAX: usize = 256;
/// Bytes in a JSON message that a client sends on a WebSocket.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = 384 * 1024;
/// Topics that one WebSocket is subscribed to.
pub const SOCKET_TOPICS_MAX: usize = 64;
/// Rules for topics that name a webhook; each has a queue.
pub const WEBHOOKS_MAX: usize = 32;
/// Messages in the queue of one webhook; more are dead letters.
pub const WEBHOOK_QUEUE_MAX: usize = 1024;
/// Bytes of messages in the queue of one webhook.
pub const WEBHOOK_QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Attempts at delivering one message.
pub const WEBHOOK_ATTEMPTS_MAX: u32 = 5;
/// Pause behind a first attempt that failed, in milliseconds; it doubles with each.
pub const WEBHOOK_PAUSE_MS: u64 = 500;
/// Longest time for one attempt, whatever a rule says, in milliseconds.
pub const WEBHOOK_TIMEOUT_MS_MAX: u64 = 30_000;
/// Time for one attempt, when a rule says nothing, in milliseconds.
pub const WEBHOOK_TIMEOUT_MS: u64 = 5_000;
/// At the process's end, the time in which queues are emptied, in milliseconds.
pub const WEBHOOK_FINISH_MS: u64 = 2_000;
/// Bytes of a webhook's secret.
pub const WEBHOOK_SECRET_BYTES_MIN: usize = 16;
/// See [`WEBHOOK_SECRET_BYTES_MIN`].
pub const WEBHOOK_SECRET_BYTES_MAX: usize = 512;
/// Secrets of a webhook: the one in use, and the one before or after it.
pub const WEBHOOK_SECRETS_MAX: usize = 2;
/// Bytes of a webhook's address.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2048;
/// Folders whose objects somebody wants to know of.
pub const OBJECT_TOPICS_MAX: usize = 4096;
/// Topics of counts that one owner tells of.
pub const PRESENCE_TOPICS_MAX: usize = 256;
/// Distinct publishers that are counted in one window.
pub const PRESENCE_IDS_MAX: usize = 262_144;
/// The window over which distinct publishers are counted, in milliseconds.
pub const PRESENCE_WINDOW_MS: u64 = 10_000;
/// How often counts are told, in milliseconds.
pub const PRESENCE_PERIOD_MS: u64 = 5_000;

// The largest message fits beside others, however its memory has grown.
const _: () = assert!(TOPIC_MESSAGE_BYTES_MAX * 2 < TOPIC_ARRIVING_BYTES_MAX);
// A peer has missed several pings before it is given up.
const _: () = assert!(TOPIC_HEARTBEAT_MS * 3 <= SOCKET_SILENT_MS_MAX);
