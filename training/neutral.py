"""The neutral texts that centre label similarities: a fixed, varied sample of train texts kept with the model."""

from __future__ import annotations

import random
import re
from pathlib import Path

from training import corpora

QUESTION_MARKS = ("？", "?", "怎么", "如何", "请问", "为什么", "哪里", "多少")
MAX_CHARACTERS = 80
UNWANTED = re.compile(
    # Crimes, accidents, lawsuits.
    "[杀死亡血弑奸毒嫖娼诉判贪骗赌彩罪犯尸伤警案刑枪爆裸色性淫妓砍殴虐葬癌抢盗劫偷]|纠纷|法院|法律|法官|律师|裁定|代理|事故|车祸"
    "|遇难|殉难|地震|火灾|碰瓷|辱骂|污蔑|打人|打黑|执法|违建|超员|超载|超龄|公安|检察|监控|恐怖|自残|剪刀"
    # Politics and war.
    "|总统|总理|主席|议员|议会|议长|首相|外交|外长|政治|政法|政府|中央|政协|人大|两会|党|江泽民|李鹏|克林顿|普京|马克龙|马列|俄|军|战|导弹"
    "|伊拉克|[美英法德日]国|独立|统一|革命|烈士|阿拉法特|以色列|港|台湾|西藏|新华社|本报|记者|县|省|市长|书记"
    "|国务院|人民代表|出席|访华|致信|同志|大使|两岸|台海|温家宝|李铁映|海峡|桥本|国家领导|座谈|大陆"
    # Private persons and their lives.
    "|男子|女子|男女|女人|姑娘|美女|小妹|小姐|小伙|小哥|哥哥|丈夫|妻子|夫妇|弃妇|婚|恋|对象|交.?朋友|个朋友|出轨|第一次的|车震|赡养"
    "|儿子|独生|生.?胎|月经|hpv|疫苗|看黄|兄弟|老铁|明星|演员|导演|不和|宝强|赵薇|翻脸|身材|肌肉|我这么美|命理|寺庙"
    # Advertisements and cures.
    "|服务\\(|一晚|娱乐城|黄页|高仿|治疗|治愈|医院|按摩|美容|回收|假病历|哪个假|病|贴敷|多少钱|实名|投资|融资|培训|招聘|加盟|股|黄金"
    "|娱乐|桑纳|传销|村霸|拼爹|维权|刀|暴力|假经营|佛|大佬|尖子|\\d{6}|[A-Za-z0-9]{10}|http|@"
    "|(?i:damn|fuck|shit|bitch|sex|kill|hate|killed|war|arrest|vampire|dick|bush|senat|congress)"
)
"""Nothing to ship with a model: crimes, accidents, politics, private lives, advertisements, swearing."""

EVERYDAY = re.compile(
    "手机|信号|外卖|快递|房价|燃气|缴费|套餐|网络|宽带|汽车|车险|电视|旅游|考试|老师|学校|天气|衣服|冰箱|家具|水果|蔬菜|早餐|睡觉|近视"
    "|空调|洗衣|电脑|软件|游戏|充值|公交|地铁|高铁|机票|酒店|小区|物业|孩子|作业|专业|大学|公务员|面试|简历|工资|社保|公积金|信用卡"
    "|银行卡|油耗|轮胎|驾照|驾考|科目|装修|瓷砖|植物|养花|做菜|包子|茶|咖啡|英语|跑步|电影|歌|书|app|wifi|微信|支付|会员|优惠|退款|发票"
)
"""What headlines that ship with a model are about."""


def neutral_texts(cache: Path, seed: int) -> list[str]:
    """About 300 short texts: headlines and reviews that ask something, newspaper and English sentences.

    Questions because they are nearest to what is routed: such a centre was the best on the routing dev sets.
    """
    rng = random.Random(seed)  # noqa: S311 - the same draw every time
    reviews = [review.text for review in corpora.reviews(cache) if review.split == "train"]
    headlines = [article.title for article in corpora.articles(cache) if article.split == "train"]
    english = [text for text in corpora.english_sentences(cache) if corpora.split_of(text) == "train"]
    pools: list[tuple[list[str], int]] = [
        ([text for text in headlines if asks(text) and fit(text) and EVERYDAY.search(text)], 75),
        ([text for text in reviews if asks(text) and fit(text)], 70),
        ([text for text in corpora.newspaper_sentences(cache) if fit(text)], 70),
        ([text for text in english if fit(text)], 90),
    ]
    chosen: dict[str, None] = {}
    for pool, amount in pools:
        usable = [text for text in pool if 8 <= len(text) <= MAX_CHARACTERS and text.isprintable()]
        chosen.update(dict.fromkeys(rng.sample(usable, amount)))
    return list(chosen)


def asks(text: str) -> bool:
    """True if the text looks like a question."""
    return any(mark in text for mark in QUESTION_MARKS)


def fit(text: str) -> bool:
    """True if the text may ship with a model."""
    return not UNWANTED.search(text)
