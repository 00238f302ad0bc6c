//! Asks the servers of data stores how they are, beside all reconciles and without the Kubernetes API: over HTTP
//! at the names that a headless Service gives their pods. Of those that somebody else runs it sees whether they answer.
//!
//! A platform is woken only when an answer says something new that matters.

mod ask;
mod book;
mod outside;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio::{select, time::sleep_until};
use trading_core::members::Protocol;

use crate::cache::Triggers;
use ask::Asker;
pub use book::Book;
use book::{Round, Told};

/// Platforms that are asked at a time.
const AT_ONCE: usize = 16;

/// Asks whoever's turn it is, until it is dropped. Who answers slowly holds up nobody else.
pub async fn poll(book: Arc<Book>, triggers: &Triggers) {
    let asker = Asker::new();
    let mut rounds = FuturesUnordered::new();
    loop {
        let (due, next) = book.due(Instant::now(), AT_ONCE - rounds.len());
        rounds.extend(due.into_iter().map(|round| hold(round, &asker, &book, triggers)));
        select! {
            Some(()) = rounds.next() => {}
            () = rest(&book, next), if rounds.len() < AT_ONCE => {}
        }
    }
}

async fn hold(round: Round, asker: &Asker, book: &Book, triggers: &Triggers) {
    let told = ask_all(asker, &round).await;
    if book.enter(&round, told) {
        triggers.wake(round.key, "servers of its stores say something new");
    }
}

/// Until it is somebody's turn, or somebody is to be asked earlier.
async fn rest(book: &Book, next: Option<Instant>) {
    let next = async {
        match next {
            Some(next) => sleep_until(next.into()).await,
            None => std::future::pending().await,
        }
    };
    select! {
        () = next => {}
        () = book.changed() => {}
    }
}

/// All servers of all stores of a platform at once.
async fn ask_all(asker: &Asker, round: &Round) -> Told {
    let stores = round.targets.iter().map(async |target| {
        let servers = target.servers.iter();
        let answers = servers.map(async |(name, host)| {
            let answer = match target.protocol {
                Protocol::Agent => asker.ask(host, target.port).await,
                protocol => asker.try_outside(protocol, host, target.port).await,
            };
            (name.clone(), answer)
        });
        (target.store, join_all(answers).await.into_iter().collect())
    });
    join_all(stores).await.into_iter().collect()
}
