//! What is watched: companies, indices, currencies, commodities, funds, and lists of them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Id of an entity, usually a ticker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntityId(pub Arc<str>);

/// One line of the entity dictionary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// Id, usually a ticker; also matched as the cashtag `$id` where it has a ticker's form.
    pub id: EntityId,
    /// Full name, also matched.
    pub name: String,
    /// Further names, tickers and short forms.
    pub aliases: Vec<String>,
    /// Sector, free text; empty where none applies.
    pub sector: String,
    /// What it is.
    pub kind: EntityKind,
    /// Words one of which must be near before an ambiguous alias counts; empty where none is ambiguous.
    pub context: Vec<String>,
}

/// Kind of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    /// A listed company.
    Company,
    /// A stock or bond index.
    Index,
    /// A currency or currency pair.
    Currency,
    /// A commodity.
    Commodity,
    /// A fund.
    Fund,
    /// A sector, watch list or portfolio: a post that touches a member mentions the list once.
    List,
}

/// A watch list or portfolio from the configuration. It is an entity of kind [`EntityKind::List`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityList {
    /// Id of the list; must differ from every entity's.
    pub id: EntityId,
    /// Name shown to people.
    pub name: String,
    /// Ids of its members.
    pub entities: Vec<EntityId>,
}

impl EntityId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for EntityId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl EntityKind {
    /// The word used in dictionaries and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Company => "company",
            Self::Index => "index",
            Self::Currency => "currency",
            Self::Commodity => "commodity",
            Self::Fund => "fund",
            Self::List => "list",
        }
    }
}
