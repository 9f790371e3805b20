"""Several processes fill one volume together, each with a part of the bytes.

One of them holds the lease and is the *leader*: it checks what is there, gives verified files their final names and
publishes. The others are *members* without the lease. All of them, the leader included, claim pieces of work on the
`Board`, a folder on the volume (`board.py`), fetch them with the usual transports, fed by a `ShardFeed`, and verify
what they hash. There is no other connection between them (ADR 83).
"""

from downloader.shards.board import Board, Verdict, boards, pause_of, remove_board
from downloader.shards.feed import ShardFeed
from downloader.shards.keep import keep_progress
from downloader.shards.log import BoardGone
from downloader.shards.member import Member
from downloader.shards.partial import ReceivedPartial
from downloader.shards.work import Division, board_name

__all__ = [
    "Board",
    "BoardGone",
    "Division",
    "Member",
    "ReceivedPartial",
    "ShardFeed",
    "Verdict",
    "board_name",
    "boards",
    "keep_progress",
    "pause_of",
    "remove_board",
]
