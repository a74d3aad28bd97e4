//! Rules for topics: what their logs hold and what publishers may send.

use super::glob;
use super::webhook::Webhook;
use crate::limits;

/// The rules in the order of the file; the first that covers a name counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRules(Vec<TopicRule>);

/// One rule; what it does not set has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRule {
    pub(super) pattern: Box<str>,
    /// Messages in the log.
    pub messages_max: Option<usize>,
    /// Bytes in the log.
    pub bytes_max: Option<usize>,
    /// A message leaves the log after this time, in milliseconds.
    pub age_ms: Option<u64>,
    /// Bytes in one message.
    pub message_bytes_max: Option<usize>,
    /// Publications a second.
    pub messages_per_second: Option<u32>,
    /// What becomes of a subscriber that fell out of the log.
    pub lag: Option<Lag>,
    /// Who is told of every message, with its number among all webhooks.
    pub webhook: Option<(u16, Webhook)>,
    /// Whether each of its topics has counts of its own in the metrics.
    pub metrics: bool,
}

/// What becomes of a subscriber that fell out of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// It skips ahead and is told so.
    Skip,
    /// Its connection is closed.
    Close,
}

impl TopicRules {
    /// The first rule that covers the name. Allocates nothing.
    pub fn find(&self, name: &[u8]) -> Option<&TopicRule> {
        self.0.iter().find(|rule| glob::covers(rule.pattern.as_bytes(), name))
    }

    /// All webhooks by their numbers, each with its rule's pattern.
    pub fn webhooks(&self) -> impl Iterator<Item = (&str, &Webhook)> {
        self.0.iter().filter_map(|rule| Some((&*rule.pattern, &rule.webhook.as_ref()?.1)))
    }

    /// Appends a rule; the error is a sentence.
    pub(super) fn push(&mut self, mut rule: TopicRule) -> Result<(), String> {
        if let Some((number, _)) = &mut rule.webhook {
            let count = self.webhooks().count();
            if count == limits::WEBHOOKS_MAX {
                return Err(format!("at most {} rules with a webhook", limits::WEBHOOKS_MAX));
            }
            *number = u16::try_from(count).unwrap_or(u16::MAX);
        }
        if self.0.len() == limits::TOPIC_RULES_MAX {
            return Err(format!("at most {} rules", limits::TOPIC_RULES_MAX));
        }
        self.0.push(rule);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_covers_counts_and_their_number_is_bounded() {
        let rule = |pattern: &str, age_ms| TopicRule {
            pattern: pattern.into(),
            age_ms: Some(age_ms),
            ..TopicRule::default()
        };
        let mut rules = TopicRules::default();
        rules.push(rule("shop/*", 5)).unwrap();
        rules.push(rule("**", 7)).unwrap();
        let age = |name: &str| rules.find(name.as_bytes()).and_then(|rule| rule.age_ms);
        assert_eq!(age("shop/bids"), Some(5));
        assert_eq!(age("shop/bids/1"), Some(7));
        while rules.0.len() < limits::TOPIC_RULES_MAX {
            rules.push(rule("**", 1)).unwrap();
        }
        assert!(rules.push(rule("**", 1)).is_err());
    }
}
