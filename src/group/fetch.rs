//! A group as it is stored, and what of it counts.
//!
//! In: what the watch showed, as [`Stored`]. Out: whether another wish follows from it than before. Its spec is judged
//! elsewhere.

use mcp_hangar_api::v1beta1::group::MCPProviderGroupStatus;

use crate::stored::Stored;

/// A group as it is stored.
pub(super) type Known = Stored<MCPProviderGroupStatus>;

impl Known {
    /// Whether another wish follows from it than from `old`.
    pub(super) fn wishes_other_than(&self, old: &Self) -> bool {
        (&self.uid, self.generation, self.is_going, &self.annotations)
            != (&old.uid, old.generation, old.is_going, &old.annotations)
    }
}
