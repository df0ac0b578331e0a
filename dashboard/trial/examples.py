"""Texts to click on, with the labels that go with them."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.trial.ask import Ask, Mode
from dashboard.words import later


@dataclass(frozen=True, slots=True)
class Example:
    """One example. `title` is translated when it is shown."""

    title: str
    ask: Ask


_TEAMS = """物流配送：催发货、查物流进度、包裹延误或丢失
退货退款：申请退货、退款没到账、取消订单
商品质量：破损、瑕疵、用几天就坏、发错货
账号登录：忘记密码、收不到验证码、账号被封
支付账单：支付失败、重复扣款、金额扣错"""

_TOPICS = """room: bed, bathroom, cleanliness, noise
food: breakfast, restaurant, drinks
staff: friendliness and help at the desk
price: value for money, extra charges"""

_LONG = (
    "去之前看了很多评价，期待值很高，所以这次特意请了三天假，全家五口人一起住了两晚，"
    "想把整个过程都写下来给大家参考。\n"
    "先说好的地方。酒店的位置真的没得挑，出门左转就是地铁口，走路十分钟就到海边，"
    "早上推开窗能闻到海的味道。大堂很气派，鲜花每天都换，孩子们一进门就被养着锦鲤的小池子吸引住了。"
    "办入住的小姑娘特别热情，看我们带着老人，主动把房间换到了离电梯近的那一侧，"
    "还给老人拿了热毛巾和姜茶，这一点全家都非常感动。早餐种类多得数不过来，"
    "现煮的牛肉粉和刚出炉的蛋挞好吃到每天都要排队，水果也新鲜，孩子最喜欢的是可以自己动手做的华夫饼。"
    "健身房和泳池也很干净，救生员一直在旁边看着，让人放心。\n"
    "可是从第二天晚上开始，一切都变了。先是空调坏了，半夜热得睡不着，打电话给前台，说师傅马上到，"
    "结果等了将近两个小时才有人来，来了之后捣鼓半天说修不好，要换房间，可是又说当晚已经没有空房了。"
    "就这样一家人开着窗户熬到天亮，蚊子把孩子咬了十几个包。第二天找值班经理理论，对方一句道歉都没有，"
    "反而怪我们自己把空调开得太低。更离谱的是退房的时候，账单上凭空多出来两百八十块的迷你吧消费，"
    "我们根本没有碰过冰箱里的东西，解释了半个多小时，还要我们等他们调监控。最后虽然把钱退了，"
    "可是赶火车的时间也耽误了，一家人一路跑着才勉强上了车。\n"
    "回来以后我又给客服打了三次电话，每次都说会有专人回复，到今天已经过去两个星期了，"
    "一个电话也没有等到。花了这么多钱，买来的是一肚子气，实在太失望了，以后绝对不会再住，"
    "也劝大家慎重考虑。"
)

EXAMPLES = (
    Example(later("Praise in Chinese"), Ask("物流很快，包装也很用心，孩子拿到手就舍不得放下，下次还来买！")),
    Example(later("Complaint in Chinese"), Ask("用了两天就坏了，客服推来推去，再也不会买这个牌子。")),
    Example(
        later("English"), Ask("The battery barely lasts a morning and support never answered. I want my money back.")
    ),
    Example(later("Cantonese"), Ask("呢間茶餐廳啲嘢又平又好食，姐姐仲好好人，下次一定再嚟！")),
    Example(later("Sarcasm"), Ask("真是太棒了，等了三个小时才告诉我今天不营业，给你们的服务鼓掌👏")),
    Example(
        later("A ticket among teams"),
        Ask("我的快递显示已签收，但是我根本没收到，麻烦查一下到底送到哪里去了", Mode.LABELS, _TEAMS),
    ),
    Example(
        later("Several topics"),
        Ask(
            "Lovely breakfast and the people at the desk could not have been kinder, but the bathroom was dirty.",
            Mode.LABELS,
            _TOPICS,
            multi_label=True,
        ),
    ),
    Example(later("A long review"), Ask(_LONG)),
)


def example_of(number: object) -> Example | None:
    """The example with this number, counted from 0, as forms send it."""
    text = str(number)
    return (
        EXAMPLES[int(text)]
        if text.isascii() and text.isdigit() and len(text) < 3 and int(text) < len(EXAMPLES)
        else None
    )
