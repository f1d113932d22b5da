//! Attention and its kin.

use super::{Use, unsupported};
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::attend::{Attend, Scores};
use crate::ops::causal_conv::CausalConv;
use crate::ops::linear_attention::LinearAttention;
use crate::ops::rotary::Rotary;
use crate::ops::unary::UnaryFunction;
use crate::ops::write_at::WriteAt;

/// An attribute that counts something; `default` where it is left out.
pub(super) fn count(of: &Use, name: &str, default: usize) -> Result<usize> {
    Ok(of.node.int(name)?.map_or(default, |n| usize::try_from(n).unwrap_or(0)))
}

pub(super) fn attention(of: &mut Use) -> Result<Vec<ValueId>> {
    let (heads, kv_heads) = (of.node.int("q_num_heads")?, of.node.int("kv_num_heads")?);
    let heads = match (heads, kv_heads) {
        (Some(_), Some(_)) => Some((count(of, "q_num_heads", 0)?, count(of, "kv_num_heads", 0)?)),
        _ => None,
    };
    let window =
        |name: &str| Ok::<_, crate::error::Error>(of.node.int(name)?.and_then(|n| usize::try_from(n).ok()));
    let op = Attend {
        heads,
        scale: of.node.float("scale")?,
        causal: of.flag("is_causal")?,
        softcap: of.node.float("softcap")?.unwrap_or(0.0),
        window: (window("left_window_size")?, window("right_window_size")?),
        scores: match of.node.int("qk_matmul_output_mode")?.unwrap_or(0) {
            0 => Scores::Products,
            // The modes changed places: in 24 the mask came before the cap.
            1 => Scores::Capped,
            2 => Scores::Masked,
            3 => Scores::Shares,
            other => return unsupported(format!("scores in the mode {other}")),
        },
        outputs: of.node.outputs.len(),
    };
    of.as_is(op)
}

/// Without functions of the scores, it is attention.
pub(super) fn flex_attention(of: &mut Use) -> Result<Vec<ValueId>> {
    if of.node.graph("score_mod")?.is_some() || of.node.graph("prob_mod")?.is_some() {
        return unsupported("functions of the scores");
    }
    let scale = of.node.float("scale")?;
    of.as_is(Attend {
        heads: None,
        scale,
        causal: false,
        softcap: 0.0,
        window: (None, None),
        scores: Scores::Products,
        outputs: 1,
    })
}

pub(super) fn rotary(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = Rotary {
        interleaved: of.flag("interleaved")?,
        turning: count(of, "rotary_embedding_dim", 0)?,
        heads: count(of, "num_heads", 0)?,
    };
    of.as_is(op)
}

pub(super) fn linear_attention(of: &mut Use) -> Result<Vec<ValueId>> {
    let rule = of.node.string("update_rule")?.unwrap_or("gated_delta");
    let fits = match rule {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return unsupported(format!("updates by the rule {other}")),
    };
    crate::error::ensure!(
        fits == (of.optional(4).is_some(), of.optional(5).is_some()),
        InvalidGraph,
        "the rule {rule} does not go with the inputs decay and beta that are there"
    );
    let op = LinearAttention {
        heads: count(of, "q_num_heads", 0)?,
        kv_heads: count(of, "kv_num_heads", 0)?,
        scale: of.node.float("scale")?.filter(|scale| *scale != 0.0),
        outputs: of.node.outputs.len(),
    };
    of.as_is(op)
}

pub(super) fn causal_conv(of: &mut Use) -> Result<Vec<ValueId>> {
    let activation = match of.node.string("activation")?.unwrap_or("none") {
        "none" => None,
        "silu" | "swish" => Some(UnaryFunction::Silu),
        other => return unsupported(format!("the activation {other}")),
    };
    of.as_is(CausalConv { activation, outputs: of.node.outputs.len() })
}

pub(super) fn write_at(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = WriteAt {
        axis: of.node.int("axis")?.unwrap_or(-2),
        circular: of.node.string("mode")? == Some("circular"),
    };
    of.as_is(op)
}
