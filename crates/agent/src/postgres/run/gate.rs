//! Lets answers to clients out only while the server may give them; no I/O but a look at the clock.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::clock;

/// Until when answers may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// The server takes no writes, so that nothing it says can be wrong for long.
    Standby,
    Until(Duration),
}

/// A process that was frozen finds it closed when it wakes, whatever it was about to send.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<State>);

impl Gate {
    /// Nothing leaves yet.
    pub fn closed() -> Self {
        Self(watch::Sender::new(State::Closed))
    }

    /// Answers of a server that takes no writes.
    pub fn open_for_standby(&self) {
        self.set(State::Standby);
    }

    /// Answers of the primary, until then by [`clock::now`].
    pub fn open_until(&self, end: Duration) {
        self.set(State::Until(end));
    }

    /// Nothing leaves any more.
    pub fn close(&self) {
        self.set(State::Closed);
    }

    fn set(&self, state: State) {
        self.0.send_if_modified(|old| std::mem::replace(old, state) != state);
    }

    /// Whether bytes may leave now.
    pub fn is_open(&self) -> bool {
        match *self.0.borrow() {
            State::Closed => false,
            State::Standby => true,
            State::Until(end) => clock::now() < end,
        }
    }

    /// Whether the primary's answers leave now.
    pub fn is_open_for_writes(&self) -> bool {
        matches!(*self.0.borrow(), State::Until(end) if clock::now() < end)
    }

    /// Waits until it is closed, by hand or by time. Connections that began before end then, even
    /// where the gate opens again: their server has changed.
    pub async fn wait_closed(&self) {
        let mut states = self.0.subscribe();
        let was_standby = *states.borrow_and_update() == State::Standby;
        loop {
            let state = *states.borrow_and_update();
            let left = match state {
                State::Closed => return,
                State::Standby => None,
                State::Until(_) if was_standby => return,
                State::Until(end) => match end.checked_sub(clock::now()) {
                    None | Some(Duration::ZERO) => return,
                    left => left,
                },
            };
            let changed = states.changed();
            match left {
                Some(left) => {
                    tokio::select! { () = sleep(left) => {} result = changed => if result.is_err() { return } }
                }
                None if changed.await.is_err() => return,
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn it_closes_by_itself_when_nobody_renews() {
        let gate = Gate::closed();
        assert!(!gate.is_open());
        gate.wait_closed().await;
        gate.open_until(clock::now() + Duration::from_millis(30));
        assert!(gate.is_open() && gate.is_open_for_writes());
        gate.wait_closed().await;
        assert!(!gate.is_open());
        gate.open_for_standby();
        assert!(gate.is_open() && !gate.is_open_for_writes());
    }

    #[tokio::test]
    async fn renewals_keep_it_open_and_a_promotion_ends_old_connections() {
        let gate = Gate::closed();
        gate.open_until(clock::now() + Duration::from_millis(50));
        let waiting = gate.clone();
        let task = tokio::spawn(async move { waiting.wait_closed().await });
        tokio::task::yield_now().await;
        gate.open_until(clock::now() + LONG);
        sleep(Duration::from_millis(100)).await;
        assert!(!task.is_finished());
        gate.close();
        task.await.expect("ends");
        gate.open_for_standby();
        let waiting = gate.clone();
        let task = tokio::spawn(async move { waiting.wait_closed().await });
        tokio::task::yield_now().await;
        gate.open_until(clock::now() + LONG);
        task.await.expect("ends");
    }
}
