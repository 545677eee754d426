//! The parts of `src/dpop/` that the store of used proofs needs.

pub(crate) mod nonce {
    pub(crate) const PERIOD_SECONDS: i64 = 60;
}

pub(crate) mod replay {
    use std::fmt;
    use std::time::Duration;

    use super::verify::VerifiedProof;
    use crate::clock::Timestamp;
    pub(crate) use crate::table;

    pub(crate) trait ReplayStore: fmt::Debug {
        fn record(&self, proof: &VerifiedProof, now: Timestamp) -> Recording;

        fn entries(&self) -> Option<usize>;
    }

    pub(crate) enum Recording {
        Now(Result<ProofUse, ReplayError>),
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum ProofUse {
        First,
        Replayed,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum ReplayError {
        Full { retry_after: Duration },
        Unavailable,
    }
}

pub(crate) mod verify {
    use crate::clock::Timestamp;

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct VerifiedProof {
        pub(crate) id: u8,
        pub(crate) created_at: i64,
        pub(crate) accepted_until: i64,
    }

    impl VerifiedProof {
        pub(crate) fn id(&self) -> u8 {
            self.id
        }

        pub(crate) fn created_at(&self) -> Timestamp {
            Timestamp::from_secs(self.created_at)
        }

        pub(crate) fn accepted_until(&self) -> Timestamp {
            Timestamp::from_secs(self.accepted_until)
        }
    }
}
