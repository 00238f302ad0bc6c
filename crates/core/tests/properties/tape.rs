//! Choices that proptest can shrink. What is generated reads numbers off a tape; a shorter tape
//! with smaller numbers gives a simpler value. That is far quicker than a tree of strategies, and
//! values can depend on each other.

use proptest::{
    strategy::{NewTree, Strategy, ValueTree},
    test_runner::TestRunner,
};

/// Numbers that decide what is generated. Where they end, every choice is the simplest.
pub struct Tape {
    choices: Vec<u32>,
    at: usize,
    /// State of the generator that makes the tape longer; `None` where it is only read.
    random: Option<u64>,
}

impl Tape {
    /// An endless tape.
    pub fn of_seed(seed: u64) -> Self {
        Self { choices: Vec::new(), at: 0, random: Some(seed) }
    }

    fn next(&mut self) -> u32 {
        let at = self.at;
        self.at += 1;
        if let (true, Some(state)) = (at == self.choices.len(), &mut self.random) {
            // SplitMix64.
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            self.choices.push((mixed >> 33) as u32);
        }
        self.choices.get(at).copied().unwrap_or_default()
    }

    /// A number below `bound`; 0 is the simplest.
    pub fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    /// A number between two, both included; the first is the simplest.
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        let span = usize::try_from(high - low).expect("low is not above high") + 1;
        low + i32::try_from(self.below(span)).expect("it is below the span")
    }

    /// Whether something is so that is so in `percent` of all cases; `false` is simpler.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }

    /// One of several; the first is the simplest.
    pub fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// One of several values.
    pub fn copy<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Something in `percent` of all cases; nothing is simpler.
    pub fn maybe<T>(&mut self, percent: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }

    /// A few items, at most `most`; none is the simplest.
    pub fn list<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self, usize) -> T) -> Vec<T> {
        let count = if self.chance(30) { self.below(most + 1) } else { 0 };
        (0..count).map(|index| make(self, index)).collect()
    }
}

/// What `make` reads off a tape.
pub fn tape<T: std::fmt::Debug, F: Fn(&mut Tape) -> T + Clone>(make: F) -> Taped<F> {
    Taped(make)
}

/// See [`tape`].
#[derive(Clone)]
pub struct Taped<F>(F);

impl<F> std::fmt::Debug for Taped<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a tape")
    }
}

impl<T: std::fmt::Debug, F: Fn(&mut Tape) -> T + Clone> Strategy for Taped<F> {
    type Tree = Shrinking<F>;
    type Value = T;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let mut tape = Tape::of_seed(rand_seed(runner));
        (self.0)(&mut tape);
        let choices = tape.choices;
        let block = choices.len();
        Ok(Shrinking {
            make: self.0.clone(),
            failing: choices.clone(),
            choices,
            move_: Move::Remove,
            block,
            at: 0,
        })
    }
}

fn rand_seed(runner: &mut TestRunner) -> u64 {
    use proptest::prelude::Rng;
    runner.rng().next_u64()
}

/// A tape that becomes simpler as long as the test fails: first shorter, then smaller numbers.
pub struct Shrinking<F> {
    make: F,
    /// What is tried.
    choices: Vec<u32>,
    /// The simplest that failed.
    failing: Vec<u32>,
    move_: Move,
    /// Numbers that are changed at once, and from where on.
    block: usize,
    at: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Move {
    Remove,
    Zero,
    Halve,
}

impl<F> Shrinking<F> {
    /// The next simpler tape to try; `false` when there is none.
    fn propose(&mut self) -> bool {
        loop {
            if self.at >= self.failing.len() {
                self.at = 0;
                self.block /= 2;
                if self.block == 0 {
                    let Some(next) = self.move_.next() else { return false };
                    self.move_ = next;
                    self.block = if next == Move::Halve { 1 } else { self.failing.len() };
                }
                if self.failing.is_empty() {
                    return false;
                }
            }
            let range = self.at..(self.at + self.block).min(self.failing.len());
            let mut choices = self.failing.clone();
            match self.move_ {
                Move::Remove => drop(choices.drain(range)),
                Move::Zero => choices[range].fill(0),
                Move::Halve => choices[range].iter_mut().for_each(|choice| *choice /= 2),
            }
            self.at += self.block;
            if choices != self.failing {
                self.choices = choices;
                return true;
            }
        }
    }
}

impl Move {
    fn next(self) -> Option<Self> {
        match self {
            Self::Remove => Some(Self::Zero),
            Self::Zero => Some(Self::Halve),
            Self::Halve => None,
        }
    }
}

impl<T: std::fmt::Debug, F: Fn(&mut Tape) -> T + Clone> ValueTree for Shrinking<F> {
    type Value = T;

    fn current(&self) -> T {
        (self.make)(&mut Tape { choices: self.choices.clone(), at: 0, random: None })
    }

    /// The test failed with what was tried.
    fn simplify(&mut self) -> bool {
        if self.move_ == Move::Remove && self.choices.len() < self.failing.len() {
            // What is now at this place was behind the removed block.
            self.at = self.at.saturating_sub(self.block);
        }
        self.failing.clone_from(&self.choices);
        self.propose()
    }

    /// The test passed with what was tried.
    fn complicate(&mut self) -> bool {
        self.choices.clone_from(&self.failing);
        self.propose()
    }
}
