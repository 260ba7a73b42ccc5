/// A failure of a store. Each text is one line, names the store, and carries its cause: there is no `source`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatastoreError {
    /// No connection came about: refused, no such host, TLS, or no answer in time.
    #[error("{store} is unreachable at {endpoint}: {cause}")]
    Unreachable {
        /// The store, `datastore silver`.
        store: String,
        /// The endpoint as the DataStore names it.
        endpoint: String,
        /// Why.
        cause: String,
    },
    /// The server does not let us in: wrong password, an unknown user or certificate.
    #[error("{store} refuses us: {cause}; look at the credentials that its DataStore names")]
    Refused {
        /// The store.
        store: String,
        /// The server's text.
        cause: String,
    },
    /// What the DataStore holds is not what it should be: no PEM, a key of another certificate.
    #[error("{store}: {what} cannot be used: {cause}")]
    Credentials {
        /// The store.
        store: String,
        /// Which part, such as `the client's certificate`.
        what: String,
        /// Why.
        cause: String,
    },
    /// What should be read in one piece is compacted away: it has to begin anew.
    #[error("{store} was compacted to revision {compacted} while it was read at {wanted}")]
    Compacted {
        /// The store.
        store: String,
        /// The revision that was to be read.
        wanted: i64,
        /// The oldest that is there.
        compacted: i64,
    },
    /// The store has no room left: its quota, its disk, or an alarm that says so.
    #[error("{store} is full: {cause}")]
    Full {
        /// The store.
        store: String,
        /// The server's text.
        cause: String,
    },
    /// The connection was lost, or the server failed, in the middle.
    #[error("{store} failed while {doing}: {cause}")]
    Lost {
        /// The store.
        store: String,
        /// What was being done, such as `reading`.
        doing: String,
        /// Why.
        cause: String,
    },
    /// It holds what this program does not understand, and what cannot be copied safely for that reason.
    #[error("{store}: {what}")]
    Unexpected {
        /// The store.
        store: String,
        /// What is there.
        what: String,
    },
}
