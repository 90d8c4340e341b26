//! `POST /auth/sign-in`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::UserId;

/// The name of someone who gave none.
pub const GUEST: &str = "Guest";
/// Answer 400 to a name of more than [`crate::limits::USERNAME_CHARS`].
pub const USERNAME_TOO_LONG: &str = "Username too long (maximum is 32 characters)";
/// Answer 400 to a body that is not the JSON asked for.
pub const INVALID_BODY: &str = "Invalid request body";
/// Answer 401 of `/ws` to a missing or bad token.
pub const UNAUTHORIZED: &str = "Unauthorized";

/// The body; a missing or blank name makes a [`GUEST`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInRequest {
    /// The display name, trimmed by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// The answer 200. Its `Debug` hides the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignInResponse {
    /// The JWT for `/ws?token=`.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: String,
    /// The new member's id.
    pub user_id: UserId,
    /// The name as the server keeps it.
    pub username: String,
}

impl fmt::Debug for SignInResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInResponse").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}
