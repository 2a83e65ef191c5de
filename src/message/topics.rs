//! All topics that are read, one line each: the name on the bus and in metrics, what its messages
//! say, whether our queue subscribes to it, and how to read it.

use super::fields::Reason;
use super::reading::{ReadOutcome, Reading};

/// A function that reads the body of a message.
pub(super) type Reader = fn(&mut Reading<'_, '_>) -> Result<ReadOutcome, Reason>;

/// A topic.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// End of the routing key. The publisher configures what comes before. Also the name in
    /// metrics.
    pub name: &'static str,
    /// What a message of this topic says.
    pub says: &'static str,
    /// Whether our queue is bound to the topic.
    pub is_bound: bool,
    /// Whether the message is only a hint where a hub can be asked. If not, no hub knows what the
    /// message says, so the message is the fact.
    pub is_hint: bool,
    pub(super) read: Reader,
}

/// All known topics, whoever publishes them. The README has the same list, and a test compares both.
pub const TOPICS: &[Topic] = &[
    bound("buildsys.task.state.change", "a scratch build began or ended", |r| r.task()),
    bound("buildsys.build.state.change", "a build began, ended or was deleted", |r| r.build()),
    unbound("buildsys.build.promote", "a draft became a build", |r| r.promoted()),
    bound("buildsys.tag", "a build was put into a tag", |r| r.tagged()),
    bound("buildsys.untag", "a build was taken out of a tag", |r| r.untagged()),
    bound("buildsys.repo.init", "a repository is being made", |r| r.repo_init()),
    bound("buildsys.repo.done", "a repository is ready", |r| r.repo_done()),
    bound("buildsys.package.list.change", "a tag's package list changed", |r| r.package_list()),
    unbound("buildsys.rpm.sign", "a package was signed, which decides nothing", |_| {
        Ok(ReadOutcome::Nothing("signatures decide nothing here"))
    }),
    told("bodhi.buildroot_override.tag", "a build came into buildroots before its update", |r| r.override_tagged()),
    told("bodhi.buildroot_override.untag", "such a build left the buildroots", |r| r.override_untagged()),
];

const fn bound(name: &'static str, says: &'static str, read: Reader) -> Topic {
    Topic { name, says, is_bound: true, is_hint: true, read }
}

const fn unbound(name: &'static str, says: &'static str, read: Reader) -> Topic {
    Topic { name, says, is_bound: false, is_hint: true, read }
}

/// A topic of messages that no hub can confirm.
const fn told(name: &'static str, says: &'static str, read: Reader) -> Topic {
    Topic { name, says, is_bound: true, is_hint: false, read }
}

impl Topic {
    /// Returns the topic of a routing key.
    pub fn of(key: &str) -> Option<&'static Self> {
        let ends_with = |end: &str| key.strip_suffix(end).is_some_and(|start| start.is_empty() || start.ends_with('.'));
        TOPICS.iter().find(|topic| ends_with(topic.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routing_key_has_the_topic_it_ends_with() {
        for topic in TOPICS {
            for key in [topic.name.to_owned(), format!("org.fedoraproject.prod.{}", topic.name)] {
                assert_eq!(Topic::of(&key).map(|t| t.name), Some(topic.name));
            }
            assert!(Topic::of(&format!("x{}", topic.name)).is_none(), "part of a word");
        }
        assert!(Topic::of("org.fedoraproject.prod.buildsys.tag.new").is_none());
    }

    #[test]
    fn the_readme_has_the_same_list() {
        let readme = include_str!("../../README.md");
        let listed = |line: &&str| {
            let cells: Vec<&str> = line.split(" | ").collect();
            cells.len() == 3 && line.starts_with("| `") && matches!(cells[2], "yes |" | "no |")
        };
        let row = |t: &Topic| format!("| `{}` | {} | {} |", t.name, t.says, if t.is_bound { "yes" } else { "no" });
        let ours: Vec<String> = TOPICS.iter().map(row).collect();
        assert_eq!(readme.lines().filter(listed).collect::<Vec<_>>(), ours);
    }
}
