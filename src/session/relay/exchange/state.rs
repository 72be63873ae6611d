//! What is known of a lease at a moment.

use super::{Batch, Exchange, Own, Reply, Sent};

/// More answers than a client may leave outstanding before it is read no further. The server
/// flushes every 8 KiB at the latest, which is far fewer answers than this.
const OWED_MAX: usize = 1 << 16;

impl Exchange {
    /// Nothing is outstanding and no transaction is open.
    pub(in crate::session::relay) fn is_done(&self) -> bool {
        self.owed.is_empty() && self.status == b'I' && !self.skipping && self.batch == Batch::None
    }

    /// Whether a transaction is open and the client has to go on with it.
    pub(in crate::session::relay) fn is_idle_in_transaction(&self) -> bool {
        self.is_quiet() && self.status != b'I'
    }

    /// Whether it is known that the server will say nothing more of its own accord. When not, the
    /// server must be destroyed, not returned.
    pub(in crate::session::relay) fn is_certain(&self) -> bool {
        self.doubtful == 0 && !self.strayed
    }

    /// Nothing is outstanding.
    pub(in crate::session::relay) fn is_quiet(&self) -> bool {
        self.owed.is_empty() && !self.skipping
    }

    /// Whether the server will answer everything without another word from the client. A server
    /// holds answers back until a Sync, and takes COPY data for ever. With `cut`, the last message
    /// did not come whole and will not be answered either.
    pub(in crate::session::relay) fn will_be_quiet(&self, cut: bool) -> bool {
        let whole = self.owed.len().saturating_sub(usize::from(cut));
        let ends =
            |(sent, _): &(Sent, Reply)| matches!(sent, Sent::Sync | Sent::Query | Sent::Function);
        !self.copying && self.owed.iter().take(whole).any(ends)
    }

    /// Whether the client may send more before the server answers.
    pub(in crate::session::relay) fn has_room(&self) -> bool {
        self.owed.len() < OWED_MAX
    }

    /// The last transaction status: `I`, `T` or `E`.
    pub(in crate::session::relay) fn status(&self) -> u8 {
        self.status
    }

    /// Whether the server skips everything up to a Sync.
    pub(in crate::session::relay) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Whether the client has sent something it has not ended by a Sync.
    pub(in crate::session::relay) fn is_unsynced(&self) -> bool {
        self.batch > Batch::None
    }

    /// One that a Sync of pgusher's own would end.
    pub(in crate::session::relay) fn has_batch(&self) -> bool {
        self.batch > Batch::Closing
    }

    /// Whether the server takes CopyData.
    pub(in crate::session::relay) fn is_copying(&self) -> bool {
        self.copying
    }

    /// What became of pgusher's own question, and how often it was refused.
    pub(in crate::session::relay) fn own(&self) -> (Own, u32) {
        (self.own, self.refusals)
    }

    /// Whether the server may be skipping to a Sync, which a simple query has not ended.
    pub(in crate::session::relay) fn may_skip(&self) -> bool {
        self.risky && self.batch == Batch::None && !self.is_quiet()
    }

    /// Whether the server answers an EXECUTE now whose statement could not be prepared, as the client
    /// has been told: that there is none is no news.
    pub(in crate::session::relay) fn is_echo(&self) -> bool {
        self.echo == Some(self.numbers.1)
    }
}
