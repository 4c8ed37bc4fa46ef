"""An agent that asks a person before it pays, and waits for the answer: for days, and over any restart."""

from datetime import timedelta
from typing import TypedDict

from agentserver import Durable, InvocationHandler, InvocationsServer, Run
from agentserver.durable.errors import StepFailedError

PATIENCE = timedelta(days=3)


class Order(TypedDict):
    """What is to be bought."""

    item: str
    amount: float


class Decision(TypedDict, total=False):
    """What the person says."""

    approved: bool
    by: str


class Buyer(InvocationHandler, durable=Durable(keep=timedelta(days=30))):
    """Finds an offer, has it approved, and pays."""

    async def run(self, order: Order, run: Run) -> dict[str, object]:
        """Buy what is ordered, if somebody approves of it in time."""
        offer = await run.step("find", find_offer, order["item"], order["amount"])
        await run.emit({"type": "approval_needed", "offer": offer})
        try:
            decision: Decision = await run.wait_for("decision", PATIENCE.total_seconds())
        except StepFailedError:
            return {"bought": False, "reason": "nobody answered"}
        if not decision.get("approved"):
            return {"bought": False, "reason": f"refused by {decision.get('by', 'somebody')}"}
        # The same key at every try: whoever takes the payment can see that it is the same one.
        receipt = await run.step("pay", lambda: pay(offer, key=run.step_key))
        return {"bought": True, "approved_by": decision.get("by"), "receipt": receipt}


async def find_offer(item: str, most: float) -> str:
    """Stand in for a search among the shops."""
    return f"{item} for {most:.2f}"


async def pay(offer: str, key: str) -> str:
    """Stand in for a payment, which is made once for each *key*."""
    return f"paid {offer} ({key})"


if __name__ == "__main__":
    InvocationsServer.run(Buyer)
