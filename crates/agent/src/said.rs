//! A log that says each thing once; I/O.

/// What was said last, about one matter.
#[derive(Default)]
pub struct Said(String);

impl Said {
    /// Says it, unless it was the last thing. No news end the matter: what comes later is news again.
    pub fn once(&mut self, matter: &str, news: impl Into<String>) {
        let news = news.into();
        if news != self.0 && !news.is_empty() {
            eprintln!("{matter}: {news}");
        }
        self.0 = news;
    }
}
