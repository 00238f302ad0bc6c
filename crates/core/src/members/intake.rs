//! From what a server's agent answered to what is kept of it. Whoever holds the pod wrote it: nothing is taken
//! over that was not checked and cut.

use std::collections::{BTreeMap, BTreeSet};

use trading_report::{Cluster, Report, Volume};

use super::{ClusterView, Fullness, LEVELS, Member, NO_TLS, UNREACHABLE};

/// Characters of a text for people.
const LONGEST_TEXT: usize = 300;
/// Characters of a name, a version or a digest.
const LONGEST_WORD: usize = 63;
/// Texts for people in a list.
const MOST_TEXTS: usize = 8;
/// Entries of a list.
const MOST: usize = 600;

/// Reasons that conditions may carry: those that agents give, and those of stores outside.
const REASONS: [&str; 9] = [
    "ImageWithoutServer",
    "WrongMajorVersion",
    "WrongDatabase",
    "UnusableVolume",
    "VolumeUnreadable",
    "BadConfiguration",
    "ServerEnded",
    UNREACHABLE,
    NO_TLS,
];
/// In place of any other.
pub const OTHER_REASON: &str = "ServerCannotStart";

/// What is kept of the answer of a pod; `None` where another pod answered.
#[must_use]
pub fn take_in(pod: &str, report: Report) -> Option<Member> {
    if report.name != pod {
        return None;
    }
    let failure = report.failure.map(|failure| {
        let known = REASONS.into_iter().find(|reason| *reason == failure.reason);
        (known.unwrap_or(OTHER_REASON), text(&failure.message))
    });
    let in_force = report.in_force.into_iter().filter(|(file, digest)| is_word(file) && is_word(digest));
    Some(Member {
        role: report.role,
        follows: report.follows.filter(|name| is_word(name)),
        in_step: report.in_step,
        cluster: report.cluster.map(view),
        in_force: in_force.take(MOST).collect::<BTreeMap<_, _>>(),
        pending_restart: words(report.pending_restart),
        volume: fullest(&report.volumes),
        version: report.version.filter(|version| is_word(version)),
        refused: report.refused.iter().map(|words| text(words)).take(MOST_TEXTS).collect(),
        waits_for: report.waits_for.map(|words| text(&words)).filter(|words| !words.is_empty()),
        failure,
    })
}

fn view(cluster: Cluster) -> ClusterView {
    ClusterView {
        owns_slots: cluster.slots > 0,
        unserved: cluster.unserved,
        settled: cluster.settled,
        members: words(cluster.members),
        owners: words(cluster.owners),
    }
}

fn words(all: BTreeSet<String>) -> BTreeSet<String> {
    all.into_iter().filter(|word| is_word(word)).take(MOST).collect()
}

fn is_word(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    (1..=LONGEST_WORD).contains(&word.len()) && word.bytes().all(is_plain)
}

/// One line, not too long, that no terminal obeys.
fn text(words: &str) -> String {
    words
        .chars()
        .take(LONGEST_TEXT)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

fn fullest(volumes: &[Volume]) -> Option<Fullness> {
    let known = volumes.iter().filter(|volume| volume.total_bytes > 0 && is_word(&volume.name));
    let (name, percent) =
        known.map(|volume| (&volume.name, percent(volume))).max_by_key(|(_, percent)| *percent)?;
    let level = LEVELS.into_iter().rfind(|level| *level <= percent);
    Some(Fullness { name: name.clone(), percent: level.unwrap_or_default() })
}

/// What is used of it, in whole percents.
fn percent(volume: &Volume) -> u8 {
    let (all, free) = (u128::from(volume.total_bytes), u128::from(volume.free_bytes));
    u8::try_from(all.saturating_sub(free) * 100 / all).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use trading_report::{Failure, Role};

    use super::*;

    fn volume(name: &str, total_bytes: u64, free_bytes: u64) -> Volume {
        Volume { name: name.to_owned(), total_bytes, free_bytes }
    }

    #[test]
    fn numbers_that_move_are_no_news() {
        let with = |lag, free| Report {
            name: "shop-postgres-1".to_owned(),
            role: Role::Replica,
            in_step: Some(true),
            lag_bytes: Some(lag),
            volumes: vec![volume("data", 1000, free)],
            ..Report::default()
        };
        let kept = |lag, free| take_in("shop-postgres-1", with(lag, free));
        assert_eq!(kept(0, 900), kept(4096, 201));
        assert_ne!(kept(0, 201), kept(0, 200), "80 % of it are used");
        assert_eq!(kept(0, 50).and_then(|member| member.volume).map(|volume| volume.percent), Some(95));
    }

    #[test]
    fn the_fullest_volume_counts() {
        let full = |volumes: &[Volume]| fullest(volumes).map(|volume| (volume.name, volume.percent));
        let volumes = [volume("data", 100, 90), volume("wal", 100, 9), volume("odd", 0, 0)];
        assert_eq!(full(&volumes), Some(("wal".to_owned(), 90)));
        assert_eq!(full(&[volume("data", 10, 20)]), Some(("data".to_owned(), 0)), "more free than there is");
        assert_eq!(full(&[volume("data", u64::MAX, 0)]), Some(("data".to_owned(), 98)));
        assert_eq!(full(&[]), None);
    }

    #[test]
    fn an_answer_is_not_trusted() {
        assert_eq!(
            take_in("shop-redis-0", Report { name: "shop-redis-1".to_owned(), ..Report::default() }),
            None
        );
        let long = "x".repeat(10_000);
        let report = Report {
            name: "shop-redis-0".to_owned(),
            follows: Some("shop\u{1b}[2J".to_owned()),
            waits_for: Some(format!("a\u{1b}b\n{long}")),
            version: Some(long.clone()),
            refused: (0..99).map(|number| format!("{number}\n{long}")).collect(),
            in_force: [("redis.conf".to_owned(), "ab".to_owned()), (long.clone(), "cd".to_owned())].into(),
            failure: Some(Failure { reason: "Own\nReason".to_owned(), message: long.clone() }),
            cluster: Some(Cluster {
                owners: (0..9999).map(|number| format!("p-{number}")).chain(["a b".to_owned()]).collect(),
                ..Cluster::default()
            }),
            ..Report::default()
        };
        let member = take_in("shop-redis-0", report).expect("it is the pod's");
        assert_eq!((member.follows, member.version), (None, None));
        let waits_for = member.waits_for.expect("it says so");
        assert!(waits_for.starts_with("a b x") && waits_for.chars().count() == LONGEST_TEXT, "{waits_for}");
        assert!(member.in_force.keys().eq(["redis.conf"]));
        assert_eq!(member.refused.len(), MOST_TEXTS);
        let is_cut = |words: &String| words.chars().count() == LONGEST_TEXT && !words.contains('\n');
        assert!(member.refused.iter().all(is_cut), "{:?}", member.refused);
        let (reason, message) = member.failure.expect("it failed");
        assert_eq!((reason, message.len()), (OTHER_REASON, LONGEST_TEXT));
        assert_eq!(member.cluster.expect("it is one's").owners.len(), MOST);
    }
}
