"""Which numbers there are of serving images."""

from __future__ import annotations

from lightfast.cache.coherence import LinkState
from lightfast.cache.tiered import TieredCache
from lightfast.cache.variants import Variants
from lightfast.imaging.rendering import Rendering
from lightfast.tally import Reads, Tier
from lightfast.web.metrics import Sample, counter, gauge, histogram


def image_samples(reads: Reads, tier: TieredCache) -> list[Sample]:
    """This process's numbers. Reading them costs serving nothing."""
    memory, link = tier.memory, tier.link
    stale = sum(number for (_, level), number in reads.answers.items() if level is Tier.STALE)
    return [
        *(
            counter("lightfast_requests", "Read requests answered.", number, status=str(status), tier=level.value)
            for (status, level), number in reads.answers.items()
        ),
        counter("lightfast_response_body_bytes", "Bytes of the bodies of these answers.", reads.bytes),
        counter("lightfast_stale_served", "Answers given from memory while the store was away.", stale),
        gauge("lightfast_memory_bytes", "Bytes that the memory cache accounts for.", memory.bytes),
        gauge("lightfast_memory_limit_bytes", "Bytes that the memory cache may hold.", memory.max_bytes),
        gauge("lightfast_memory_entries", "Images in the memory cache.", len(memory)),
        counter("lightfast_memory_evictions", "Images that had to leave memory for others.", memory.evictions),
        counter("lightfast_single_flight_joins", "Requests that shared another one's store read.", tier.joins),
        *(
            gauge("lightfast_link_state", "Workers by the state of their link.", link.state is state, state=state.value)
            for state in LinkState
        ),
        counter("lightfast_link_losses", "Times that a link to the store was lost.", link.losses),
        counter("lightfast_invalidations", "Changes that the store has told of.", link.changes),
        histogram(
            "lightfast_invalidation_lag_seconds",
            "From a change to the news of it, or what a heartbeat on the same link took, which bounds it.",
            link.lag,
        ),
        histogram("lightfast_store_read_seconds", "What reading an image from the store took.", tier.store_latency),
    ]


def render_samples(rendering: Rendering, variants: Variants) -> list[Sample]:
    """This process's numbers of making pictures."""
    return [
        counter("lightfast_renders", "Variants that were made.", rendering.renders),
        histogram("lightfast_render_seconds", "What making a variant took, waiting included.", rendering.seconds),
        gauge("lightfast_render_waiting", "Pictures that wait to be made.", rendering.waiting),
        counter("lightfast_render_joins", "Requests that shared what another had begun to make.", variants.joins),
    ]
