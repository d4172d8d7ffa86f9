"""Print Q_tot of every joint action in every state of the two-step game, as a run has learnt it.

python docs/examples/two_step_values.py my_vdn.py runs/<run>
"""

import sys

import torch

from cleanmarl.evaluate import load_run, load_script

script, run = sys.argv[1:]
module = load_script("", script)
_, saved = load_run(run)
args = saved["args"]
q_network = module.QNetwork(
    5, 2, args["hidden_dim"], args["num_layers"]
)  # 3 numbers of the state, 2 of the agent's id
mixer = (
    module.Mixer(2, 3, args["hyper_dim"]) if saved["mixer"] else module.Mixer()
)  # VDN's has no weights
q_network.load_state_dict(saved["q_network"]), mixer.load_state_dict(saved["mixer"])
states = torch.eye(3)  # 1, 2A and 2B
ids = torch.eye(2).expand(3, 2, 2)
with torch.no_grad():
    q_values = q_network(
        torch.cat([states.unsqueeze(1).expand(3, 2, 3), ids], dim=-1)
    )  # (state, agent, action)
    print("state,action of agent 1,Q_tot if agent 2 takes 0,Q_tot if agent 2 takes 1")
    for state, name in enumerate(("1", "2A", "2B")):
        for first in range(2):
            chosen = [
                torch.stack([q_values[state, 0, first], q_values[state, 1, second]])
                for second in range(2)
            ]
            q_totals = [f"{mixer(pair, states[state]).item():.2f}" for pair in chosen]
            print(",".join([name, str(first), *q_totals]))
