//! The shard map that stands elsewhere: followed, kept on disk, and told of. Who serves it is not its business.

mod clock;
pub mod copy;
pub mod follow;
pub mod history;
pub mod keeper;
pub mod listing;
pub mod registry;
mod state;
pub mod timelines;
pub mod watcher;

pub use clock::{host, user_at_host, utc};
pub use state::{MapState, MapStatus};
